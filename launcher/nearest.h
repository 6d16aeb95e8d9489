// What the user probably meant: the known word closest to a mistyped one. For config keys, flags and commands.
#pragma once

#include <string>
#include <vector>

namespace shardit {

// Insertions, deletions, replacements and swaps of neighbours that turn `a` into `b`.
int edit_distance(const std::string& a, const std::string& b);

// The candidate closest to `word`; empty if none is within a third of its length (at least one edit).
std::string nearest(const std::string& word, const std::vector<std::string>& candidates);

// "a", "a or b", "a, b or c".
std::string join_words(const std::vector<std::string>& words, const std::string& last = "or");

}  // namespace shardit

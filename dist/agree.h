// Work that counts only if every rank of a group has done it. What goes wrong on one rank is thrown on all of them:
// they go the same way, and none waits for a rank that has given up.
//
// `work` is this rank's own, without calls among the ranks. Its Error is thrown on every rank, with its exit code and
// `everywhere` set, as "rank 3 of 8: …"; where all ranks say the same, or there is only one, the text stays as it is. A
// CommError is not voted on: a rank that does not hear the others cannot vote. All calls are collective.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "dist/communicator.h"

namespace shardit {

// Every rank works; each gets what all of them made, by rank.
std::vector<std::string> all_work(Communicator& ranks, const char* label, const std::function<std::string()>& work);

// Rank 0 works, and each gets what it made.
std::string rank_zero_works(Communicator& ranks, const char* label, const std::function<std::string()>& work);

// Every rank's text, by rank; rank 0's text.
std::vector<std::string> gather_texts(Communicator& ranks, const char* label, std::string mine);
std::string broadcast_text(Communicator& ranks, const char* label, std::string text);

}  // namespace shardit

// Why do all wait? From the last calls of every rank, names the rank that holds the others up.
#pragma once

#include <string>
#include <vector>

#include "dist/call_log.h"

namespace shardit {

// One line that says which rank issued another call than the others, does not answer, or has not entered the call that
// others wait in; then a line for each place where ranks are, that of the fewest first. An error shows three lines
// (core/error_text.h), which is all where one place is odd. Takes one entry per rank of the world, by rank.
std::string diagnose(const std::vector<RankCalls>& ranks);

// "rank 3", "ranks 0-2 5"
std::string list_ranks(const std::vector<int>& ranks);

}  // namespace shardit

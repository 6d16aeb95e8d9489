// Work that counts only if every rank of a group has done it. What goes wrong on one rank is thrown on all of them:
// they go the same way, and none waits for a rank that has given up.
//
// `work` is this rank's own, without calls among the ranks. Its error becomes a UserError if it was one, else an
// IoError, "rank 3 of 8: …"; where all ranks say the same, or there is only one, it stays as it is. A CommError is not
// voted on: a rank that does not hear the others cannot vote.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "dist/communicator.h"

namespace shardit {

// Every rank works; each gets what all of them made, by rank. Collective.
std::vector<std::string> all_work(Communicator& ranks, const char* label, const std::function<std::string()>& work);

// Rank 0 works, and each gets what it made. Collective.
std::string rank_zero_works(Communicator& ranks, const char* label, const std::function<std::string()>& work);

}  // namespace shardit

// How many compute threads a rank uses.
#pragma once

#include <sched.h>

#include <cstdint>
#include <vector>

#include "launcher/ranks.h"

namespace shardit {

// OMP_NUM_THREADS where it is set (UserError unless it is a positive number), else an equal share of the CPUs that
// this process may run on, at least one, for each of `ranks` on them.
int compute_threads(int ranks = 1);

// The same for a rank of a job. Collective.
int compute_threads(Ranks& ranks);

// What a rank tells the others; plain bytes.
struct RankCpus {
  int32_t node = 0;     // its machine (World::node)
  cpu_set_t cpus = {};  // that it may run on
};

// The ranks among which `rank` shares CPUs, itself among them: those of its machine that may run on one of its own.
int ranks_on_cpus_of(int rank, const std::vector<RankCpus>& ranks);

}  // namespace shardit

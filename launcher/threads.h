// How many compute threads a rank uses.
#pragma once

namespace shardit {

// OMP_NUM_THREADS where it is set (UserError unless it is a positive number), else an equal share of the cores that
// this process may run on, at least one, for each of the node's `local_ranks`.
int compute_threads(int local_ranks = 1);

}  // namespace shardit

// How many compute threads this rank uses.
#pragma once

namespace shardit {

// OMP_NUM_THREADS where it is set (UserError unless it is a positive number), else the cores this process may run on.
int compute_threads();

}  // namespace shardit

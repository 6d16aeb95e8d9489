// The ranks that mpirun or srun started together with this process.
#pragma once

#include <functional>

#include "dist/world.h"

namespace shardit {

// Joins them and runs `body` on every rank; a process that nobody started in company is a world of its own. Once per
// process. Returns the exit code. What the ranks agreed on to be an error (launcher/ranks.h) is printed here, once, and
// no rank ends before it is: a launcher kills the others when one ends with an error.
int run_job(const std::function<int(World&)>& body);

}  // namespace shardit

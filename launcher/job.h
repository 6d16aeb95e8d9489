// The ranks that mpirun or srun started together with this process.
#pragma once

#include <functional>

#include "dist/world.h"

namespace shardit {

// Joins them and runs `body` on every rank; a process that nobody started in company is a world of its own. Once per
// process. Returns the exit code. An error that every rank throws is printed here, once, and no rank ends before it is:
// a launcher kills the others when one ends with an error.
int run_job(const std::function<int(World&)>& body);

}  // namespace shardit

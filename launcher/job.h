// The ranks that mpirun or srun started together with this process.
#pragma once

#include <memory>

#include "dist/world.h"

namespace shardit {

// Joins them; a process that nobody started in company is a world of its own. Once per process.
std::unique_ptr<World> join_job();

}  // namespace shardit

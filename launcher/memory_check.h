// The memory contract: what a run will allocate is known and printed before it starts, and a run that cannot fit is
// refused with the numbers and the nearest setting that fits.
#pragma once

#include <string>
#include <vector>

#include "core/plan.h"
#include "dist/mesh.h"
#include "launcher/run_config.pb.h"

namespace shardit {

struct ClassBytes {
  std::string name;  // "parameters", "gradients", …
  int64_t bytes = 0;
};
std::vector<ClassBytes> class_bytes(const MemoryPlan& plan);  // the sum is the arena
std::string class_table(const MemoryPlan& plan);              // "parameters 6.1 MiB, gradients …"

// Who shares the memory.
struct MemoryLimits {
  Mesh mesh;                      // this rank's
  int local_ranks = 1;            // on this machine
  Target target;                  // what its programs are compiled for
  int64_t device_free_bytes = 0;  // of a device with memory of its own; 0: the ranks share the machine's
};

// Throws UserError if `plan` exceeds parallel.memory_budget_bytes, or where that is 0 what the device has
// free, on the CPU this rank's part of the machine's memory. The message names the nearest setting that fits on these
// ranks.
void check_memory(const RunConfig& config, const MemoryPlan& plan, const MemoryLimits& limits);

}  // namespace shardit

// The pictures that a training run draws of its weights on the way.
#pragma once

#include <cstdint>
#include <string>

#include "core/program.h"
#include "launcher/ranks.h"
#include "launcher/run_setup.h"

namespace shardit {

// Draws about `images` images, the classes in turn along the columns, whole rows of them, and writes them as one PNG
// file on rank 0. Returns how many; 0, and no file, if a stop signal came meanwhile: the next save is more urgent.
// Called on every rank. Throws IoError.
int64_t write_sample_grid(const std::string& path, int64_t images, Program& program, const RunSetup& setup,
                          const SamplingSetup& sampling, const SamplingPlan& plan, Ranks& ranks);

}  // namespace shardit

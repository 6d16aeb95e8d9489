// Training: the step loop with everything around it.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "core/device.h"
#include "dist/world.h"
#include "launcher/run_config.pb.h"
#include "launcher/step_trace.h"

namespace shardit {

struct TrainOptions {
  std::string run_dir;
  int64_t steps = 0;                    // stop after this many steps of the run; 0: the config's
  std::string resume = "auto";          // auto, none, or a step
  std::string resume_proof = "strict";  // strict, warn or off (launcher/resume_proof.h)
  bool override_arithmetic = false;
  double stop_after_s = 0;  // 0: never
  std::optional<StepRange> trace_steps;
  int threads = 1;                                       // compute threads of this rank; 0: its share (threads.h)
  std::function<std::unique_ptr<Device>()> open_device;  // for tests; null: the config's device
};

// Called by every rank of the world. Runs until the last step, a signal or the time limit; every one of them saves.
// Returns the exit code.
int train(const RunConfig& config, const TrainOptions& options, World& world);

}  // namespace shardit

// A run from fresh weights, without its files: what benchmarks time. Nothing is saved, sampled or validated, and no run
// directory is touched. Collective: every rank of the world makes one, and the same calls.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "core/device.h"
#include "data/dataset.h"
#include "launcher/ranks.h"
#include "launcher/run_config.pb.h"
#include "launcher/run_products.h"
#include "launcher/run_program.h"
#include "launcher/step_runner.h"

namespace shardit {

struct TrainingRunOptions {
  std::unique_ptr<Device> device = make_cpu_device();
  int threads = 1;
  RunProgramOptions graphs = {};  // what is compiled beside the graphs of a step
  bool communicates = true;       // false: collectives answer at once with what a rank has itself (dist/echo.h)
};

struct StepTime {
  double step_ms = 0, exposed_ms = 0;  // exposed: stood waiting for other ranks
};

class TrainingRun {
 public:
  // Makes the state, and two steps that count for nothing. Throws what a run would.
  TrainingRun(const RunConfig& config, World& world, TrainingRunOptions options);

  // Makes the next step. The times are those of the rank whose step took longest.
  StepTime step();
  // What the next steps do is told to `trace`, while it records; null: to nobody.
  void trace(Trace* trace) { program_->trace(trace); }

  Program& program() { return *program_; }
  const RunSetup& setup() const { return setup_; }
  Ranks& ranks() { return ranks_; }
  const Device& device() const { return *options_.device; }
  const RunProducts& products() const { return products_; }

 private:
  RunSetup join();

  RunConfig config_;
  TrainingRunOptions options_;
  Ranks ranks_;
  RunSetup setup_;
  Pool pool_;
  RunProducts products_;
  std::unique_ptr<Dataset> data_;
  std::optional<Program> program_;
  std::optional<StepRunner> runner_;
  int64_t step_ = 0;
};

}  // namespace shardit

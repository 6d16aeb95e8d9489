// One training step on one rank: its micro-batches, then the update. Knows the program and the data, no logs and no
// files.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/program.h"
#include "data/loader.h"
#include "launcher/ranks.h"
#include "launcher/run_config.pb.h"
#include "launcher/run_setup.h"

namespace shardit {

struct StepResult {
  bool finite = true;    // of loss and gradient; if not, no weight was changed
  double loss = 0;       // mean over the global batch: the same bits on any number of ranks
  double grad_norm = 0;  // before clipping
  std::vector<double> unit_norms;
  double lr = 0;
  double exposed_ms = 0;               // this rank stood waiting for others
  double data_wait_ms = 0;             // this rank stood waiting for images
  std::vector<CorruptSample> corrupt;  // of this rank's samples
};

class StepRunner {
 public:
  // REQUIRES: all arguments outlive the runner; the program is in the state of `step`.
  // The loader tells `trace`, if there is one, what it does.
  StepRunner(Program& program, const RunSetup& setup, const RunConfig& config, const Dataset& data, Ranks& ranks,
             int64_t step, Trace* trace = nullptr);

  // Makes the next step, number `step` (the first is 0): one call per step, in order.
  StepResult run(int64_t step);

  // After a step that was not finite: replays it node by node and names the first node, in order of micro-batches,
  // whose output is not finite. Every rank gets the same text.
  std::string find_nonfinite(int64_t step);

 private:
  void load(Loader& loader, int slot);
  void set_counters(int64_t step, int64_t round, int slot);
  double add_losses(double sum);
  LoaderOptions loader_options(int64_t step) const;

  Program& program_;
  const RunSetup& setup_;
  const RunConfig& config_;
  const Dataset& data_;
  Ranks& ranks_;
  Trace* trace_;
  std::vector<int> graphs_;    // of a step, in order: one for each round, then the update
  std::vector<float> losses_;  // of a round's micro-batches
  Loader loader_;
};

}  // namespace shardit

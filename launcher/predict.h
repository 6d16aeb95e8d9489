// A training step on any number of ranks, predicted: the graphs of that run, walked by the simulator one after another
// with kernels as they were measured on one rank and collectives as the link would carry them.
#pragma once

#include <map>
#include <string>

#include "launcher/kernel_times.h"
#include "launcher/link.h"
#include "launcher/run_config.pb.h"

namespace shardit {

struct PredictedStep {
  double ms = 0;
  std::map<std::string, double> exposed_ms;  // by unit: computation stands waiting for its collectives
  double total_exposed_ms() const;
};

// What predictions start from, of this machine and this config.
struct Measured {
  KernelTimes kernels;
  double between_ms = 0;  // of a round, outside of graphs: batches, losses, scalars
  Link link;              // unused by one rank
};

// Every rank on cores of its own, as many threads as were measured. UserError for a rank count that does not divide the
// config's micro-batches.
PredictedStep predict_step(const RunConfig& config, int ranks, const Measured& measured, int threads);

}  // namespace shardit

// A training step on any number of ranks, predicted: the graphs of that run, walked by the simulator one after another,
// as fast as kernels and links are said to be.
#pragma once

#include <functional>
#include <map>
#include <string>

#include "core/program.h"
#include "core/simulate.h"
#include "launcher/kernel_times.h"
#include "launcher/link.h"
#include "launcher/run_setup.h"

namespace shardit {

// How long things take: what a prediction starts from.
struct Pace {
  std::function<double(const Graph&, const Node&)> node_ms;  // of a kernel or a collective
  double between_ms = 0;                                     // of a round, outside of graphs: batches, losses, scalars
  Issue issue = Issue::kAhead;
};

// As it was measured on this machine, with this config.
struct Measured {
  KernelTimes kernels;
  double between_ms = 0;
  Link link;  // unused by one rank
};
Pace pace_of(const Measured& measured);  // which it refers to

struct PredictedStep {
  double ms = 0;
  std::map<std::string, double> exposed_ms;  // by unit: computation stands waiting for its collectives
  double total_exposed_ms() const;
};

// `program` is of rank 0 in `setup`, every rank with a device, or with cores, of its own.
PredictedStep predict_step(const CompiledProgram& program, const RunSetup& setup, const Pace& pace);

// The same of a config, on the CPU. UserError for a rank count that does not divide the config's micro-batches.
PredictedStep predict_step(const RunConfig& config, int ranks, const Measured& measured, int threads);

}  // namespace shardit

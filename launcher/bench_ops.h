// `shardit bench ops`: every kernel of a config's training, validation and sampling, timed where it runs and held
// against the cost on its card and what the machine gives at best. On one rank.
#pragma once

#include <string>
#include <vector>

#include "launcher/ceilings.h"
#include "launcher/kernel_times.h"
#include "launcher/metrics.h"
#include "launcher/run_config.pb.h"
#include "launcher/run_program.h"

namespace shardit {

struct OpTime {
  KernelTimes::Kernel kernel;
  double ms = 0;  // median
  Floor floor;

  double gflop_per_s() const { return (kernel.cost.matmul_flops + kernel.cost.flops) / ms * 1e-6; }
  double gb_per_s() const { return kernel.cost.bytes / ms * 1e-6; }
  double fraction_of_ceiling() const { return floor.ms / ms; }
};

struct OpsBench {
  std::string device, products;  // products: what of a table is used; empty: there is none
  int threads = 1;
  Ceilings ceilings;
  std::vector<OpTime> ops;  // by card, then by types
};

// What is measured where no config is named: a small latent DiffiT, its steps, validation and sampler.
std::string default_bench_config();

// All graphs that a run of the config may have, whatever it has switched on.
RunProgramOptions all_graphs(const RunConfig& config, const Target& target);
RunConfig on_one_rank(RunConfig config);

// Each graph runs `times` times.
OpsBench measure_ops(const RunConfig& config, int times, int threads);

Json to_json(const OpsBench& bench);

}  // namespace shardit

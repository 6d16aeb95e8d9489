// `shardit bench step`: a config's training step, and where its time goes. The steps are those of a run: the same
// graphs, plan and executor; times per op are from its trace. Collective: every rank calls it.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "dist/world.h"
#include "launcher/ceilings.h"
#include "launcher/metrics.h"
#include "launcher/run_config.pb.h"

namespace shardit {

struct StepBenchOptions {
  int steps = 20;   // that are timed
  int traced = 5;   // further ones, whose ops are timed
  int threads = 1;  // compute threads of this rank
};

// All nodes of one card in a step of one rank.
struct OpShare {
  std::string card;
  int64_t runs = 0;
  Cost cost;
  double floor_ms = 0;        // the sum of its nodes' floors
  double flops_bound_ms = 0;  // of that: of nodes bound by flops
  double ms = 0;              // in the median of the traced steps
  bool beside = false;        // on the wire's thread, beside computation

  Floor::Limit limit() const { return 2 * flops_bound_ms > floor_ms ? Floor::Limit::kFlops : Floor::Limit::kBytes; }
};

struct StepBench {
  int ranks = 1, threads = 1;
  std::string device, products;  // products: what of a table is used; empty: there is none
  Ceilings ceilings;             // of one rank, the lowest, while all measured
  int64_t images = 0, parameters = 0;
  int64_t plan_bytes = 0;    // of a rank
  double model_flops = 0;    // of a step, all ranks: 3 x forward, 2 per multiply-add of products
  double peak_flops = 0;     // of all ranks, that MFU counts against
  double step_ms = 0;        // median, of the slowest rank
  double exposed_ms = 0;     // of it: waiting for other ranks
  double traced_ms = 0;      // of the median of the traced steps
  std::vector<OpShare> ops;  // of rank 0, the longest first

  double images_per_s() const { return static_cast<double>(images) / step_ms * 1e3; }
  double mfu() const { return model_flops / (step_ms * 1e-3) / peak_flops; }
  double floor_ms() const;  // of a rank: every op at its ceiling, one after another
  double fraction_of_ceiling() const { return floor_ms() / step_ms; }
};

StepBench measure_step(const RunConfig& config, const StepBenchOptions& options, World& world);

// Exactly the keys of the contract (the command line's page).
Json to_json(const StepBench& bench);

}  // namespace shardit

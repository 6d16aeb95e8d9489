// `shardit plan`: what a run will need of each rank and how fast it will be, before it is started.
#pragma once

#include <string>
#include <vector>

#include "core/plan.h"
#include "launcher/bench_scaling.h"
#include "launcher/cluster.h"
#include "launcher/metrics.h"
#include "launcher/run_config.pb.h"

namespace shardit {

// Of rank 0; all have the same.
struct RunPlan {
  int ranks = 1;
  int64_t images = 0;  // of a step
  MemoryPlan memory;
  double wire_bytes = 0, wire_bytes_fastest = 0;  // sent in a step: as configured, and in reduction fastest
  double step_ms = 0, exposed_ms = 0;             // predicted
  double mfu = 0;
  double finish_h = 0;  // of all steps of the config

  double images_per_s() const { return static_cast<double>(images) / step_ms * 1e3; }
  double device_h() const { return finish_h * ranks; }
};

// Plans for configs of one device and one precision, on one kind of machines.
class Planner {
 public:
  // cluster: a name or a file (launcher/cluster.h), empty for the one that goes with the config's device.
  // ranks_per_node: 0 for the cluster's. UserError where the config's device is not the cluster's.
  Planner(const RunConfig& config, const std::string& cluster, int ranks_per_node);

  // CPU ranks get as many threads as if all of them ran on this machine.
  RunPlan plan(const RunConfig& config, int ranks);
  // The same without wire_bytes_fastest, for which all graphs are compiled once more.
  RunPlan predict(const RunConfig& config, int ranks);
  const Cluster& cluster(int ranks);                         // as it is with that many
  int64_t memory_limit(const RunConfig& config, int ranks);  // bytes of a rank; 0: not known

 private:
  CompiledProgram compile_for(const RunConfig& config, const RunSetup& setup, int ranks);

  const RunConfig config_;
  std::string cluster_;
  int ranks_per_node_;
  std::map<int, Cluster> by_threads_;
};

// One way to run a config: a stage and a micro-batch.
struct SweepRow {
  int zero_stage = 0;
  int64_t micro_batch = 0;
  RunPlan plan;
  bool fits = true;
  std::string refused;  // why there is no plan, if there is none; it does not fit then
};

struct Sweep {
  int ranks = 1;
  int64_t memory_limit = 0;  // bytes of a rank; 0: not known
  std::vector<SweepRow> rows;
  int best = -1;  // of those that fit the fastest, of equal ones that with the least memory; -1: none fits
  std::vector<std::string> why;  // it is the best, or none is: a line each
};

// All stages, with all micro-batches that are powers of two or the config's own and share its global batch evenly.
Sweep sweep(Planner& planner, const RunConfig& config, int ranks);

Json to_json(const RunPlan& plan, int64_t checkpoint_bytes);
Json to_json(const Sweep& sweep);

}  // namespace shardit

// `shardit bench checkpoint`: the save and load of a run, beside what the same disk and memory give without them.
// Collective: every rank calls it.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "dist/world.h"
#include "launcher/metrics.h"
#include "launcher/run_config.pb.h"

namespace shardit {

struct CheckpointBenchOptions {
  std::string dir;  // a folder of its own is made in it, and removed at the end
  int rounds = 9;   // after one that is not counted
  int threads = 1;  // compute threads of this rank
};

// Milliseconds of one round, each by the slowest rank.
struct CheckpointRound {
  double save_ms = 0;   // from the snapshot to the commit
  double stall_ms = 0;  // before that: training would have stood still
  double plain_ms = 0;  // as many bytes written and fsynced, one file per rank, in one piece
  double copy_ms = 0;   // of this rank's shard from memory to memory
  double load_ms = 0, verify_ms = 0;
};

struct CheckpointReport {
  int64_t bytes = 0;        // of all ranks' files
  int64_t shard_bytes = 0;  // of the largest of them
  int ranks = 1;
  CheckpointRound first;  // staging is touched for the first time
  CheckpointRound median;
  CheckpointRound best;  // each time on its own: what there is when nobody else uses machine and disk

  double write_fraction() const { return median.plain_ms / median.save_ms; }
  double best_write_fraction() const { return best.plain_ms / best.save_ms; }
  double stall_fraction() const { return median.stall_ms / median.copy_ms; }
  double gb_per_s(double ms) const { return static_cast<double>(bytes) / ms * 1e-6; }
};

// `told` hears of each round. Nothing if a stop signal came before the end; the folder is removed then too.
std::optional<CheckpointReport> measure_checkpoints(const RunConfig& config, const CheckpointBenchOptions& options,
                                                    World& world, const std::function<void(int round)>& told);

Json to_json(const CheckpointReport& report);

}  // namespace shardit

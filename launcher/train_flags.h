// The flags of `shardit train`: read by that command, and by `shardit launch`, which must know what it restarts.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <string>
#include <vector>

namespace shardit {

struct TrainFlags {
  std::string config, run_dir, device, resume = "auto", resume_proof = "strict", stop_after, trace_steps, dump_graph;
  std::vector<std::string> sets;
  int64_t steps = 0;
  bool override_arithmetic = false;

  std::string run_directory() const;  // --run-dir, or runs/<config name>
};

// Adds them to a command. REQUIRES: `flags` outlives it.
void add_train_flags(CLI::App& command, TrainFlags& flags);

}  // namespace shardit

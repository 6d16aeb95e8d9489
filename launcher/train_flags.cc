#include "launcher/train_flags.h"

#include <filesystem>

namespace shardit {

std::string TrainFlags::run_directory() const {
  return run_dir.empty() ? "runs/" + std::filesystem::path(config).stem().string() : run_dir;
}

void add_train_flags(CLI::App& command, TrainFlags& flags) {
  command.add_option("CONFIG", flags.config, "Run config, protobuf text")->required();
  command.add_option("--run-dir", flags.run_dir,
                     "Where checkpoints, metrics and samples go; default runs/<config name>");
  command.add_option("--device", flags.device, "auto, cpu or cuda; default: the config's")
      ->check(CLI::IsMember({"auto", "cpu", "cuda"}));
  command.add_option("--set", flags.sets, "key.path=value, overrides the config; may be repeated");
  command
      .add_option("--steps", flags.steps,
                  "Stop after this many steps of the run; default: the config's steps, which schedules read anyway")
      ->check(CLI::PositiveNumber)
      ->default_str("");
  command
      .add_option("--resume", flags.resume,
                  "auto: newest valid checkpoint; none: refuse a run directory with checkpoints; or a step")
      ->capture_default_str();
  command
      .add_option("--resume-proof", flags.resume_proof,
                  "A resumed run computes the loss that was saved with its checkpoint once more. strict: another one "
                  "ends the run with exit 5; warn: says so and goes on; off: does not compute it")
      ->capture_default_str();
  command.add_flag("--override-arithmetic", flags.override_arithmetic,
                   "Resume although model, data, precision, seed or batch sizes differ");
  command.add_option("--stop-after", flags.stop_after, "Save and exit 0 after this time, e.g. 3h50m");
  command.add_option("--trace-steps", flags.trace_steps,
                     "A:B: write what ran when in these steps, on all ranks, to RUN_DIR/traces, for Perfetto");
  command.add_option("--dump-graph", flags.dump_graph,
                     "Print the training graph after a pass (build, differentiate, cast, recompute, fuse, hoist, "
                     "shard, plan) or the update graph, and exit");
}

}  // namespace shardit

// `shardit train CONFIG …`.
#include <iostream>

#include "core/error.h"
#include "launcher/commands/commands.h"
#include "launcher/config.h"
#include "launcher/job.h"
#include "launcher/ranks.h"
#include "launcher/run_device.h"
#include "launcher/run_program.h"
#include "launcher/threads.h"
#include "launcher/train_flags.h"
#include "launcher/trainer.h"

namespace shardit {
namespace {

// "3h50m", "90m", "45s", "1h": seconds.
double parse_duration(const std::string& text) {
  double seconds = 0, number = 0;
  bool digits = false;
  for (char c : text) {
    const double unit = c == 'h' ? 3600 : c == 'm' ? 60 : c == 's' ? 1 : 0;
    if (c >= '0' && c <= '9') number = number * 10 + (c - '0'), digits = true;
    REQUIRE((c >= '0' && c <= '9') || (unit > 0 && digits),
            "--stop-after: got '" + text + "', expected a duration like 3h50m, 90m or 45s");
    if (unit > 0) seconds += number * unit, number = 0, digits = false;
  }
  REQUIRE(!digits && seconds > 0, "--stop-after: got '" + text + "', expected a duration like 3h50m, 90m or 45s");
  return seconds;
}

void check_resume(const std::string& resume) {
  const bool step =
      !resume.empty() && resume.find_first_not_of("0123456789") == std::string::npos && resume.size() < 18;
  REQUIRE(resume == "auto" || resume == "none" || step,
          "--resume: got '" + resume + "', expected auto, none or a step");
}

void check_resume_proof(const std::string& mode) {
  REQUIRE(mode == "strict" || mode == "warn" || mode == "off",
          "--resume-proof: got '" + mode + "', expected strict, warn or off");
}

RunConfig config_of(const TrainFlags& flags) {
  check_resume(flags.resume);
  check_resume_proof(flags.resume_proof);
  std::vector<std::string> sets = flags.sets;
  if (!flags.device.empty()) sets.push_back("device=" + flags.device);
  return load_config(flags.config, sets);
}

int run(const TrainFlags& flags, World& world) {
  RunConfig config;
  TrainOptions options{.run_dir = flags.run_directory(),
                       .steps = flags.steps,
                       .resume = flags.resume,
                       .resume_proof = flags.resume_proof,
                       .override_arithmetic = flags.override_arithmetic,
                       .threads = 0};
  Ranks(world).together("start", [&] {
    config = config_of(flags);
    if (!flags.stop_after.empty()) options.stop_after_s = parse_duration(flags.stop_after);
    if (!flags.trace_steps.empty()) options.trace_steps = parse_step_range(flags.trace_steps);
    if (flags.dump_graph.empty()) return;
    const auto replicas = static_cast<int>(config.parallel().replicate_group());
    const RunSetup setup = make_setup(config, plan_mesh(world.size(), world.rank(), replicas));
    const Target target = planned_target(RunConfig::Device_Name(config.device()), compute_threads(world.local_size()));
    const std::string text = dump_graph(setup, flags.dump_graph, target);
    if (world.rank() == 0) std::cout << text;
  });
  return flags.dump_graph.empty() ? train(config, options, world) : 0;
}

}  // namespace

void add_train_command(CLI::App& app, Handler& chosen) {
  CLI::App* command =
      add_subcommand(app, "train", "Trains a model; continues from the newest valid checkpoint of the run directory",
                     "shardit train configs/demo.textproto --set optimizer.lr=1e-4");
  auto flags = std::make_shared<TrainFlags>();
  add_train_flags(*command, *flags);
  command->callback(
      [flags, &chosen] { chosen = [flags] { return run_job([flags](World& world) { return run(*flags, world); }); }; });
}

}  // namespace shardit

// `shardit plan CONFIG --ranks N`: what a run will need, before it is started.
#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "launcher/commands/commands.h"
#include "launcher/config.h"
#include "launcher/format.h"
#include "launcher/memory_check.h"
#include "launcher/run_program.h"
#include "launcher/state.h"
#include "launcher/threads.h"

namespace shardit {
namespace {

struct Flags {
  std::string config;
  std::vector<std::string> sets;
  std::vector<int64_t> ranks = {1};
  bool json = false;
};

using Json = nlohmann::ordered_json;

int run(const Flags& flags) {
  const RunConfig config = load_config(flags.config, flags.sets);
  for (int64_t ranks : flags.ranks)
    REQUIRE(ranks == 1, "--ranks " + std::to_string(ranks) + ": this build trains on one rank; expected --ranks 1");
  const RunSetup setup = make_setup(config);
  const MemoryPlan plan = compile_run(setup, run_program_options(config, setup), compute_threads()).memory;
  const int64_t checkpoint_bytes = 4 * setup.layout.parameters() * static_cast<int64_t>(state_kinds(setup).size());
  Json rows = Json::array();
  for (const ClassBytes& row : class_bytes(plan)) rows.push_back({{"class", row.name}, {"bytes", row.bytes}});
  if (flags.json) {
    const Json one = {
        {"ranks", 1}, {"per_rank", rows}, {"peak_bytes", plan.arena_bytes}, {"checkpoint_bytes", checkpoint_bytes}};
    std::cout << Json{{"parameters", setup.layout.parameters()},
                      {"micro_batches", setup.rounds()},
                      {"forward_flops_per_image", forward_matmul_flops(setup)},
                      {"plans", Json::array({one})}}
                     .dump(2)
              << "\n";
    return 0;
  }
  std::printf("parameters     %15ld\nmicro-batches  %15ld\ncheckpoint     %15s\n\nmemory of one rank\n",
              setup.layout.parameters(), setup.rounds(), format_bytes(static_cast<double>(checkpoint_bytes)).c_str());
  for (const ClassBytes& row : class_bytes(plan))
    std::printf("  %-12s %15ld  %s\n", row.name.c_str(), row.bytes,
                format_bytes(static_cast<double>(row.bytes)).c_str());
  std::printf("  %-12s %15ld  %s\n", "peak", plan.arena_bytes,
              format_bytes(static_cast<double>(plan.arena_bytes)).c_str());
  return 0;
}

}  // namespace

void add_plan_command(CLI::App& app, Handler& chosen) {
  CLI::App* command =
      add_subcommand(app, "plan", "Prints what a run will need: parameters, micro-batches, memory per rank by class",
                     "shardit plan configs/demo.textproto --ranks 1 --json");
  auto flags = std::make_shared<Flags>();
  command->add_option("CONFIG", flags->config, "Run config, protobuf text")->required();
  command->add_option("--set", flags->sets, "key.path=value, overrides the config; may be repeated");
  command->add_option("--ranks", flags->ranks, "Rank counts, separated by commas")
      ->delimiter(',')
      ->capture_default_str();
  command->add_flag("--json", flags->json, "Print one JSON object");
  command->callback([flags, &chosen] { chosen = [flags] { return run(*flags); }; });
}

}  // namespace shardit

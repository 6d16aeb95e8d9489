// `shardit plan CONFIG --ranks N`: what a run will need, before it is started.
#include <cstdio>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "launcher/commands/commands.h"
#include "launcher/config.h"
#include "launcher/format.h"
#include "launcher/memory_check.h"
#include "launcher/run_device.h"
#include "launcher/run_program.h"
#include "launcher/state.h"
#include "launcher/threads.h"

namespace shardit {
namespace {

struct Flags {
  std::string config;
  std::vector<std::string> sets;
  std::vector<int> ranks = {1};
  bool json = false;
};

using Json = nlohmann::ordered_json;

struct RankPlan {
  int ranks = 1;
  MemoryPlan memory;                              // of one rank: all have the same
  double wire_bytes = 0, wire_bytes_fastest = 0;  // that it sends in a step: as configured, and in reduction fastest
};

CompiledProgram compile_for(const RunConfig& config, const RunSetup& setup, int ranks) {
  const Target target = planned_target(RunConfig::Device_Name(config.device()), compute_threads(ranks));
  return compile_run(setup, run_program_options(config, setup, target), target);
}

// Of rank 0, with the threads that it would get if all ranks ran on this machine.
RankPlan plan_for(const RunConfig& config, int ranks) {
  RunSetup setup = make_setup(config, plan_mesh(ranks, 0, static_cast<int>(config.parallel().replicate_group())));
  const CompiledProgram program = compile_for(config, setup, ranks);
  RankPlan plan{ranks, program.memory, wire_bytes_per_step(program, setup)};
  setup.fastest = true;
  plan.wire_bytes_fastest = wire_bytes_per_step(compile_for(config, setup, ranks), setup);
  return plan;
}

Json to_json(const RankPlan& plan, int64_t checkpoint_bytes) {
  Json rows = Json::array();
  for (const ClassBytes& row : class_bytes(plan.memory)) rows.push_back({{"class", row.name}, {"bytes", row.bytes}});
  return {{"ranks", plan.ranks},
          {"per_rank", rows},
          {"peak_bytes", plan.memory.arena_bytes},
          {"wire_bytes_per_step", plan.wire_bytes},
          {"wire_bytes_per_step_fastest", plan.wire_bytes_fastest},
          {"checkpoint_bytes", checkpoint_bytes}};
}

// A column per rank count, a row per class.
void print_table(const std::vector<RankPlan>& plans) {
  std::printf("\nmemory per rank");
  for (const RankPlan& plan : plans) std::printf(" %15s", (std::to_string(plan.ranks) + " ranks").c_str());
  std::map<std::string, std::vector<int64_t>> rows;
  std::vector<std::string> order;
  for (size_t i = 0; i < plans.size(); ++i)
    for (const ClassBytes& row : class_bytes(plans[i].memory)) {
      if (!rows.contains(row.name)) order.push_back(row.name);
      rows[row.name].resize(plans.size());
      rows[row.name][i] = row.bytes;
    }
  order.push_back("peak");
  for (const RankPlan& plan : plans) rows["peak"].push_back(plan.memory.arena_bytes);
  for (const std::string& name : order) {
    std::printf("\n  %-13s", name.c_str());
    for (int64_t bytes : rows[name]) std::printf(" %15ld", bytes);
    if (plans.size() == 1) std::printf("  %s", format_bytes(static_cast<double>(rows[name][0])).c_str());
  }
  std::printf("\n\nsent per step  ");
  for (const RankPlan& plan : plans) std::printf(" %15.0f", plan.wire_bytes);
  std::printf("\n  in fastest   ");
  for (const RankPlan& plan : plans) std::printf(" %15.0f", plan.wire_bytes_fastest);
  std::printf("\n");
}

int run(const Flags& flags) {
  const RunConfig config = load_config(flags.config, flags.sets);
  const RunSetup alone = make_setup(config);
  const int64_t checkpoint_bytes = 4 * alone.layout.parameters() * static_cast<int64_t>(state_kinds(alone).size());
  std::vector<RankPlan> plans;
  for (int ranks : flags.ranks) plans.push_back(plan_for(config, ranks));
  if (flags.json) {
    Json all = Json::array();
    for (const RankPlan& plan : plans) all.push_back(to_json(plan, checkpoint_bytes));
    std::cout << Json{{"parameters", alone.layout.parameters()},
                      {"micro_batches", alone.micro_batches()},
                      {"forward_flops_per_image", forward_matmul_flops(alone)},
                      {"plans", all}}
                     .dump(2)
              << "\n";
    return 0;
  }
  std::printf("parameters     %15ld\nmicro-batches  %15ld\ncheckpoint     %15s\n", alone.layout.parameters(),
              alone.micro_batches(), format_bytes(static_cast<double>(checkpoint_bytes)).c_str());
  print_table(plans);
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
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_flag("--json", flags->json, "Print one JSON object");
  command->callback([flags, &chosen] { chosen = by_first_rank([flags] { return run(*flags); }); });
}

}  // namespace shardit

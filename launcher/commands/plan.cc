// `shardit plan CONFIG --ranks N`: what a run will need and how fast it will be, before it is started.
#include <cmath>
#include <cstdio>
#include <functional>
#include <iostream>
#include <map>

#include "launcher/commands/commands.h"
#include "launcher/config.h"
#include "launcher/format.h"
#include "launcher/memory_check.h"
#include "launcher/nearest.h"
#include "launcher/run_plan.h"
#include "launcher/run_program.h"
#include "launcher/run_setup.h"
#include "launcher/state.h"

namespace shardit {
namespace {

struct Flags {
  std::string config, cluster;
  std::vector<std::string> sets;
  std::vector<int> ranks = {1};
  int gpus_per_node = 0;
  bool sweep = false, weak = false, json = false;

  Scaling scaling() const { return weak ? Scaling::kWeak : Scaling::kStrong; }
};

using Row = std::pair<std::string, std::function<std::string(const RunPlan&)>>;

void print_rows(const std::vector<RunPlan>& plans, const std::vector<Row>& rows) {
  for (const auto& [name, text] : rows) {
    std::printf("\n%-15s", name.c_str());
    for (const RunPlan& plan : plans) std::printf(" %15s", text(plan).c_str());
  }
  std::printf("\n");
}

// A column per rank count, a row per class.
void print_memory(const std::vector<RunPlan>& plans) {
  std::printf("\nmemory per rank");
  for (const RunPlan& plan : plans) std::printf(" %15s", (std::to_string(plan.ranks) + " ranks").c_str());
  std::map<std::string, std::vector<int64_t>> rows;
  std::vector<std::string> order;
  for (size_t i = 0; i < plans.size(); ++i)
    for (const ClassBytes& row : class_bytes(plans[i].memory)) {
      if (!rows.contains(row.name)) order.push_back(row.name);
      rows[row.name].resize(plans.size());
      rows[row.name][i] = row.bytes;
    }
  order.push_back("peak");
  for (const RunPlan& plan : plans) rows["peak"].push_back(plan.memory.arena_bytes);
  for (const std::string& name : order) {
    std::printf("\n  %-13s", name.c_str());
    for (int64_t bytes : rows[name]) std::printf(" %15ld", bytes);
    if (plans.size() == 1) std::printf("  %s", format_bytes(static_cast<double>(rows[name][0])).c_str());
  }
  std::printf("\n");
}

void print_sent(const std::vector<RunPlan>& plans) {
  const auto number = [](double RunPlan::*of) {
    return [of](const RunPlan& plan) { return std::to_string(static_cast<int64_t>(plan.*of)); };
  };
  print_rows(plans,
             {{"sent per step", number(&RunPlan::wire_bytes)}, {"  in fastest", number(&RunPlan::wire_bytes_fastest)}});
}

std::string text_of(const Cluster& cluster) {
  return cluster.name + (cluster.about.empty() ? "" : ": " + cluster.about);
}

std::string images_per_s(const RunPlan& plan) {
  const double x = plan.images_per_s();
  return x < 1000 ? format_number(x, 4) : std::to_string(std::llround(x));
}

void print_prediction(const std::vector<RunPlan>& plans, const Flags& flags, const Cluster& cluster) {
  std::printf("\npredicted for %s\n%s%s", text_of(cluster).c_str(),
              flags.weak ? "weak scaling: each rank has the config's global_batch_size images"
                         : "all ranks share a step's images",
              cluster.gpus ? "" : ", each rank has cores of its own");
  print_rows(plans, {{"images a step", [](const RunPlan& p) { return std::to_string(p.images); }},
                     {"step", [](const RunPlan& p) { return format_ms(p.step_ms); }},
                     {"  exposed", [](const RunPlan& p) { return format_ms(p.exposed_ms); }},
                     {"images/s", images_per_s},
                     {"mfu", [](const RunPlan& p) { return format_percent(100 * p.mfu); }},
                     {"all steps", [](const RunPlan& p) { return format_duration(p.finish_h * 3600); }},
                     {"  device hours", [](const RunPlan& p) { return format_number(p.device_h(), 3); }}});
}

void print_sweep(const Sweep& sweep) {
  std::printf(
      "\n%d ranks%s\n%10s %16s %12s %12s %10s %8s %12s\n", sweep.ranks,
      sweep.memory_limit > 0 ? (", " + format_bytes(static_cast<double>(sweep.memory_limit)) + " each").c_str() : "",
      "zero_stage", "micro_batch_size", "memory", "step", "images/s", "mfu", "exposed");
  for (size_t i = 0; i < sweep.rows.size(); ++i) {
    const SweepRow& row = sweep.rows[i];
    std::printf("%10d %16ld ", row.zero_stage, row.micro_batch);
    if (!row.refused.empty()) {
      std::printf("refused: %s\n", row.refused.c_str());
      continue;
    }
    const RunPlan& p = row.plan;
    std::printf("%12s %12s %10s %8s %12s%s\n", format_bytes(static_cast<double>(p.memory.arena_bytes)).c_str(),
                format_ms(p.step_ms).c_str(), images_per_s(p).c_str(), format_percent(100 * p.mfu).c_str(),
                format_ms(p.exposed_ms).c_str(),
                static_cast<int>(i) == sweep.best ? "  best"
                : row.fits                        ? ""
                                                  : "  does not fit");
  }
  if (sweep.best >= 0)
    std::printf("best: zero_stage=%d micro_batch_size=%ld, and why\n", sweep.rows[sweep.best].zero_stage,
                sweep.rows[sweep.best].micro_batch);
  for (const std::string& line : sweep.why) std::printf("  %s\n", line.c_str());
}

int run(const Flags& flags) {
  const RunConfig config = load_config(flags.config, flags.sets);
  const RunSetup alone = make_setup(config);
  const int64_t checkpoint_bytes = 4 * alone.layout.parameters() * static_cast<int64_t>(state_kinds(alone).size());
  Planner planner(config, flags.cluster, flags.gpus_per_node);
  std::vector<RunPlan> plans;
  std::vector<Sweep> sweeps;
  for (int ranks : flags.ranks) {
    const RunConfig here = scaled(config, flags.scaling(), ranks);
    plans.push_back(planner.plan(here, ranks));
    if (flags.sweep) sweeps.push_back(sweep(planner, here, ranks));
  }
  const Cluster& cluster = planner.cluster(flags.ranks.front());
  if (flags.json) {
    Json all = Json::array();
    for (const RunPlan& plan : plans) all.push_back(to_json(plan, checkpoint_bytes));
    Json json{{"parameters", alone.layout.parameters()},
              {"micro_batches", alone.micro_batches()},
              {"forward_flops_per_image", forward_matmul_flops(alone)},
              {"cluster", cluster.name},
              {"scaling", flags.weak ? "weak" : "strong"},
              {"plans", all}};
    for (const Sweep& s : sweeps) json["sweeps"].push_back(to_json(s));
    std::cout << json.dump(2) << "\n";
    return 0;
  }
  std::printf("parameters     %15ld\nmicro-batches  %15ld\ncheckpoint     %15s\n", alone.layout.parameters(),
              alone.micro_batches(), format_bytes(static_cast<double>(checkpoint_bytes)).c_str());
  print_memory(plans);
  print_sent(plans);
  print_prediction(plans, flags, cluster);
  if (flags.sweep) std::printf("\nzero_stage changes no bit of the result, micro_batch_size does\n");
  for (const Sweep& s : sweeps) print_sweep(s);
  return 0;
}

}  // namespace

void add_plan_command(CLI::App& app, Handler& chosen) {
  CLI::App* command =
      add_subcommand(app, "plan", "Prints what a run will need of each rank, memory by class, and how fast it will be",
                     "shardit plan configs/xl2-512.textproto --ranks 1,2,4 --cluster h200-ib400 --sweep");
  auto flags = std::make_shared<Flags>();
  command->add_option("CONFIG", flags->config, "Run config, protobuf text")->required();
  command->add_option("--set", flags->sets, "key.path=value, overrides the config; may be repeated");
  command->add_option("--ranks", flags->ranks, "Rank counts, separated by commas")
      ->delimiter(',')
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option(
      "--cluster", flags->cluster,
      "What the ranks run on: " + join_words(cluster_names()) +
          ", or a file (docs/bench.md); default: h200-ib400 where the config's device is cuda, else cpu");
  command->add_option("--gpus-per-node", flags->gpus_per_node, "Ranks of a node; default: the cluster's")
      ->check(CLI::PositiveNumber);
  command->add_flag("--sweep", flags->sweep, "Compare all stages and micro-batch sizes, and say why the best is best");
  command->add_flag("--weak", flags->weak, "Each rank has the config's global_batch_size images");
  command->add_flag("--json", flags->json, "Print one JSON object");
  command->callback([flags, &chosen] { chosen = by_first_rank([flags] { return run(*flags); }); });
}

}  // namespace shardit

// `shardit bench step`: one config's training step, and where its time goes.
#include "launcher/bench_step.h"

#include <cstdio>
#include <memory>

#include "launcher/commands/bench.h"
#include "launcher/format.h"
#include "launcher/hang.h"
#include "launcher/job.h"
#include "launcher/output_file.h"
#include "launcher/ranks.h"
#include "launcher/threads.h"

namespace shardit {
namespace {

struct StepFlags {
  std::string config, json;
  std::vector<std::string> sets;
  int steps = 20;
};

constexpr double kSmallest = 0.001;  // of a step: ops below it share a line

void print_line(const std::string& name, const StepBench& bench, double ms) {
  std::printf("%-24s %6s %9.2f %6.1f %%\n", name.c_str(), "", ms, 100 * ms / bench.traced_ms);
}

void print_op(const OpShare& op, const StepBench& bench) {
  const double per_ms = op.ms > 0 ? 1 / op.ms : 0;
  std::printf("%-24s %6ld %9.2f %6.1f %% %9.1f %8.2f  %-5s %7.2f%s\n", op.card.c_str(), op.runs, op.ms,
              100 * op.ms / bench.traced_ms, (op.cost.matmul_flops + op.cost.flops) * per_ms * 1e-6,
              op.cost.bytes * per_ms * 1e-6, name_of(op.limit()), op.floor_ms * per_ms, op.beside ? "  beside" : "");
}

void print_ops(const StepBench& bench) {
  std::printf("%-24s %6s %9s %8s %9s %8s  %-5s %7s\n", "op", "runs", "ms", "of step", "GFLOP/s", "GB/s", "limit",
              "of it");
  double small = 0, rest = bench.traced_ms;
  for (const OpShare& op : bench.ops) {
    if (!op.beside) rest -= op.ms;
    op.ms > kSmallest* bench.traced_ms ? print_op(op, bench) : void(small += op.ms);
  }
  print_line("others", bench, small);
  print_line("between ops", bench, rest);
}

void print_bench(const StepBench& bench, const StepFlags& flags) {
  std::printf("%s on %s, %d rank%s of %s; medians of %d steps\n", bench_config_name(flags.config).c_str(),
              bench.device.c_str(), bench.ranks, bench.ranks == 1 ? "" : "s", format_threads(bench.threads).c_str(),
              flags.steps);
  std::printf(
      "step %.1f ms, %.1f images/s, %.2f ms of it waiting for other ranks; %ld parameters, %s planned per rank\n",
      bench.step_ms, bench.images_per_s(), bench.exposed_ms, bench.parameters,
      format_bytes(static_cast<double>(bench.plan_bytes)).c_str());
  std::printf("ceilings of %s: %s\n\n", bench.ranks == 1 ? "this rank" : "a rank while all measure",
              text_of(bench.ceilings).c_str());
  if (!bench.products.empty()) std::printf("%s\n\n", bench.products.c_str());
  print_ops(bench);
  std::printf(
      "\nmfu %.3f: the model's products, %.1f GFLOP a step, at %.1f GFLOP/s of all ranks\n"
      "fraction of ceiling %.3f: what the step would take with every op at its limit, one after another, %.1f ms\n",
      bench.mfu(), bench.model_flops * 1e-9, bench.peak_flops * 1e-9, bench.fraction_of_ceiling(), bench.floor_ms());
}

int bench_step(const StepFlags& flags, World& world) {
  RunConfig config;
  StepBenchOptions options{.steps = flags.steps};
  Ranks ranks(world);
  options.threads = compute_threads(ranks);
  ranks.together("start", [&] {
    config = bench_config(flags.config, flags.sets);
    if (!flags.json.empty()) check_output_file(flags.json);
  });
  const auto watchdog = end_hangs(world, config.parallel().watchdog_s());
  const StepBench bench = measure_step(config, options, world);
  if (world.rank() != 0) return 0;
  print_bench(bench, flags);
  if (!flags.json.empty()) write_text(flags.json, to_json(bench).dump(2) + "\n");
  finish_output();
  return 0;
}

}  // namespace

void add_bench_step(CLI::App& bench, Handler& chosen) {
  CLI::App* command = add_subcommand(
      bench, "step",
      "Times a config's training step, and each kind of op in it against what this machine gives at best; writes no "
      "run directory",
      "shardit bench step configs/bench-cpu.textproto --json step.json");
  auto flags = std::make_shared<StepFlags>();
  add_config_flags(command, flags->config, flags->sets);
  command->add_option("--steps", flags->steps, "Steps that are timed, after two that are not; five more are traced")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  add_json_flag(command, flags->json);
  command->callback([flags, &chosen] {
    chosen = [flags] { return run_job([flags](World& world) { return bench_step(*flags, world); }); };
  });
}

}  // namespace shardit

// `shardit bench checkpoint`: saves beside plain writes.
#include "launcher/bench_checkpoint.h"

#include <cstdio>
#include <memory>
#include <optional>

#include "launcher/commands/bench.h"
#include "launcher/format.h"
#include "launcher/hang.h"
#include "launcher/job.h"
#include "launcher/output_file.h"
#include "launcher/progress.h"
#include "launcher/ranks.h"
#include "launcher/signals.h"
#include "launcher/threads.h"

namespace shardit {
namespace {

using Words = std::vector<std::string>;

struct CheckpointFlags {
  std::string config, dir = ".", json;
  Words sets;
};

void print_report(const CheckpointReport& r, int rounds) {
  const auto row = [&](const char* name, double ms, double best_ms) {
    std::printf("%-12s %10s %10s %8.2f GB/s\n", name, format_ms(ms).c_str(), format_ms(best_ms).c_str(),
                r.gb_per_s(ms));
  };
  std::printf("state of %s on %d rank%s; %d rounds in turn, by the slowest rank\n",
              format_bytes(static_cast<double>(r.bytes)).c_str(), r.ranks, r.ranks == 1 ? "" : "s", rounds);
  std::printf("%23s %10s\n", "median", "best");
  row("save", r.median.save_ms, r.best.save_ms);
  row("plain write", r.median.plain_ms, r.best.plain_ms);
  row("load", r.median.load_ms, r.best.load_ms);
  row("verify", r.median.verify_ms, r.best.verify_ms);
  std::printf(
      "a save reaches %.0f %% of a plain write and fsync of as many bytes (the best of each: %.0f %%); 90 %% and "
      "more is good\n",
      100 * r.write_fraction(), 100 * r.best_write_fraction());
  std::printf("training stalls %s (the first time %s), %.2f times one copy of a shard, %s; up to 1.2 is good\n",
              format_ms(r.median.stall_ms).c_str(), format_ms(r.first.stall_ms).c_str(), r.stall_fraction(),
              format_ms(r.median.copy_ms).c_str());
  std::printf("load and verify read from the page cache\n");
}

int bench_checkpoint(const CheckpointFlags& flags, World& world) {
  RunConfig config;
  CheckpointBenchOptions options{.dir = flags.dir};
  Ranks ranks(world);
  options.threads = compute_threads(ranks);
  ranks.together("start", [&] {
    config = bench_config(flags.config, flags.sets);
    if (!flags.json.empty()) check_output_file(flags.json);
  });
  const auto watchdog = end_hangs(world, config.parallel().watchdog_s());
  const bool speaks = world.rank() == 0;
  catch_stop_signals(speaks);
  const Screen screen = Screen::standard_output();
  std::optional<ProgressBar> bar;
  if (speaks && screen.terminal) bar.emplace(screen, "saving", options.rounds, "rounds");
  const std::optional<CheckpointReport> report =
      measure_checkpoints(config, options, world, [&](int round) { bar ? bar->update(round) : void(); });
  bar.reset();
  if (!speaks) return 0;
  if (!report) return std::printf("stopped by a signal: nothing was written\n"), 0;
  print_report(*report, options.rounds);
  if (!flags.json.empty()) write_text(flags.json, to_json(*report).dump(2) + "\n");
  finish_output();
  return 0;
}

}  // namespace

void add_bench_checkpoint(CLI::App& bench, Handler& chosen) {
  CLI::App* command = add_subcommand(
      bench, "checkpoint", "Saves and loads the state of a config, beside a plain write and a copy of as many bytes",
      "shardit bench checkpoint configs/demo.textproto --dir /data");
  auto flags = std::make_shared<CheckpointFlags>();
  add_config_flags(command, flags->config, flags->sets);
  command->add_option("--dir", flags->dir, "On which disk; a folder is made there, and removed")
      ->capture_default_str()
      ->check(CLI::ExistingDirectory);
  add_json_flag(command, flags->json);
  command->callback([flags, &chosen] {
    chosen = [flags] { return run_job([flags](World& world) { return bench_checkpoint(*flags, world); }); };
  });
}

}  // namespace shardit

// `shardit bench …`: what this machine, this disk and these ranks give, measured by the code that a run uses.
#include <cstdio>
#include <fstream>
#include <iostream>
#include <memory>
#include <optional>

#include "core/error.h"
#include "dist/launch_environment.h"
#include "dist/mpi_world.h"
#include "launcher/bench_checkpoint.h"
#include "launcher/bench_comm.h"
#include "launcher/commands/commands.h"
#include "launcher/config.h"
#include "launcher/format.h"
#include "launcher/job.h"
#include "launcher/mpirun.h"
#include "launcher/output_file.h"
#include "launcher/progress.h"
#include "launcher/ranks.h"
#include "launcher/signals.h"
#include "launcher/threads.h"

namespace shardit {
namespace {

using Words = std::vector<std::string>;

void write_json(const std::string& path, const Json& json) {
  std::ofstream file(path);
  file << json.dump(2) << "\n";
  file.close();
  if (!file) throw IoError("cannot write " + path + "; free space, or choose another place with --json");
}

void add_json_flag(CLI::App* command, std::string& path) {
  command->add_option("--json", path, "Also write the numbers to this file, as JSON");
}

// ---- comm --------------------------------------------------------------------------------------------------------

struct CommFlags {
  int ranks = 2;
  int64_t max_bytes = int64_t{64} << 20;
  std::string json;
};

void print_head(const World& world) {
  std::printf("%d ranks, %d of them on this machine; sizes are of all parts together; times of the slowest rank\n",
              world.size(), world.local_size());
  std::printf("%36s%35s\n", "", "the MPI library's own, in turn");
  std::printf("%-14s %9s %10s %10s %9s %9s %10s %10s %9s\n", "", "size", "median us", "best us", "alg GB/s", "bus GB/s",
              "median us", "best us", "bus GB/s");
}

void print_point(const CommPoint& p) {
  std::printf("%-14s %9s %10.1f %10.1f %9.2f %9.2f %10.1f %10.1f %9.2f\n", p.op.c_str(),
              format_bytes(static_cast<double>(p.bytes)).c_str(), p.ours.median_us, p.ours.best_us,
              p.algorithm_gb_per_s(p.ours), p.bus_gb_per_s(p.ours), p.library.median_us, p.library.best_us,
              p.bus_gb_per_s(p.library));
  std::fflush(stdout);
}

void print_summary(const CommReport& report) {
  std::printf("link: %.1f us per step and %.2f GB/s, within %.0f %% of the all_gathers and all_to_alls on average\n",
              report.link.step_us, report.link.gb_per_s, 100 * report.link_error);
  std::printf(
      "Look at bus GB/s from 1 MiB on: it does not depend on the number of ranks; between machines compare it with "
      "the\n"
      "network's line rate, on one machine with what each rank copies in its own memory while all do, %.2f GB/s.\n",
      report.copy_gb_per_s);
}

int bench_comm(const CommFlags& flags, World& world) {
  REQUIRE(world.size() > 1, "bench comm: one rank has nobody to send to; start 2 ranks or more");
  const bool speaks = world.rank() == 0;
  const auto ours = world.make_group("bench");
  const auto library = make_mpi_library_group();
  if (speaks) print_head(world);
  const CommReport report = measure_collectives(*ours, library.get(), {.max_bytes = flags.max_bytes},
                                                [&](const CommPoint& p) { speaks ? print_point(p) : void(); });
  if (!speaks) return 0;
  print_summary(report);
  if (!flags.json.empty()) write_json(flags.json, to_json(report));
  return 0;
}

int run_comm(const CommFlags& flags, bool ranks_given) {
  if (!flags.json.empty()) check_output_file(flags.json);
  if (started_by_launcher()) {
    REQUIRE(!ranks_given, "bench comm: --ranks is for a start alone; under a launcher the job's ranks are used");
    return run_job([&](World& world) { return bench_comm(flags, world); });
  }
  REQUIRE(flags.ranks > 1, "bench comm: one rank has nobody to send to; give --ranks 2 or more");
  Words arguments = {"bench", "comm", "--max-bytes", std::to_string(flags.max_bytes)};
  if (!flags.json.empty()) arguments.insert(arguments.end(), {"--json", flags.json});
  become_mpirun(flags.ranks, arguments);
}

void add_comm(CLI::App& bench, Handler& chosen) {
  CLI::App* command = add_subcommand(
      bench, "comm", "Times the collectives among ranks, by size, and checks every byte; alone it starts mpirun itself",
      "shardit bench comm --ranks 2");
  auto flags = std::make_shared<CommFlags>();
  CLI::Option* ranks =
      command->add_option("--ranks", flags->ranks, "Ranks to start; under a launcher those of the job are used")
          ->check(CLI::PositiveNumber)
          ->capture_default_str();
  command->add_option("--max-bytes", flags->max_bytes, "The largest size; bytes, or with a unit: 64KiB, 4MiB")
      ->default_str("64MiB")
      ->transform(CLI::AsSizeValue(false) & CLI::Range(int64_t{1} << 10, int64_t{1} << 31));
  add_json_flag(command, flags->json);
  command->callback(
      [flags, ranks, &chosen] { chosen = [flags, given = ranks->count() > 0] { return run_comm(*flags, given); }; });
}

// ---- checkpoint --------------------------------------------------------------------------------------------------

struct CheckpointFlags {
  std::string config, dir = ".", json;
  Words sets;
};

void print_report(const CheckpointReport& r, int rounds) {
  const auto row = [&](const char* name, double ms) {
    std::printf("%-12s %10s %8.2f GB/s\n", name, format_ms(ms).c_str(), r.gb_per_s(ms));
  };
  std::printf("state of %s on %d rank%s; medians of %d rounds in turn, by the slowest rank\n",
              format_bytes(static_cast<double>(r.bytes)).c_str(), r.ranks, r.ranks == 1 ? "" : "s", rounds);
  row("save", r.median.save_ms);
  row("plain write", r.median.plain_ms);
  row("load", r.median.load_ms);
  row("verify", r.median.verify_ms);
  std::printf("a save reaches %.0f %% of a plain write and fsync of as many bytes; 90 %% and more is good\n",
              100 * r.write_fraction());
  std::printf("training stalls %s (the first time %s), %.2f times one copy of a shard, %s; up to 1.2 is good\n",
              format_ms(r.median.stall_ms).c_str(), format_ms(r.first.stall_ms).c_str(), r.stall_fraction(),
              format_ms(r.median.copy_ms).c_str());
  std::printf("load and verify read from the page cache\n");
}

int bench_checkpoint(const CheckpointFlags& flags, World& world) {
  RunConfig config;
  CheckpointBenchOptions options{.dir = flags.dir};
  Ranks(world).together("start", [&] {
    config = load_config(flags.config, flags.sets);
    options.threads = compute_threads(world.local_size());
    if (!flags.json.empty()) check_output_file(flags.json);
  });
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
  if (!flags.json.empty()) write_json(flags.json, to_json(*report));
  return 0;
}

void add_checkpoint(CLI::App& bench, Handler& chosen) {
  CLI::App* command = add_subcommand(
      bench, "checkpoint", "Saves and loads the state of a config, beside a plain write and a copy of as many bytes",
      "shardit bench checkpoint configs/demo.textproto --dir /data");
  auto flags = std::make_shared<CheckpointFlags>();
  command->add_option("CONFIG", flags->config, "Run config, protobuf text")->required();
  command->add_option("--set", flags->sets, "key.path=value, overrides the config; may be repeated");
  command->add_option("--dir", flags->dir, "On which disk; a folder is made there, and removed")
      ->capture_default_str()
      ->check(CLI::ExistingDirectory);
  add_json_flag(command, flags->json);
  command->callback([flags, &chosen] {
    chosen = [flags] { return run_job([flags](World& world) { return bench_checkpoint(*flags, world); }); };
  });
}

}  // namespace

void add_bench_command(CLI::App& app, Handler& chosen) {
  CLI::App* command =
      add_subcommand(app, "bench", "Measures collectives and checkpoints, in numbers that can be compared",
                     "shardit bench comm --ranks 2");
  command->require_subcommand(1);
  add_comm(*command, chosen);
  add_checkpoint(*command, chosen);
}

}  // namespace shardit

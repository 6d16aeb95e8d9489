// `shardit bench comm`: collectives among ranks.
#include "launcher/bench_comm.h"

#include <cstdio>
#include <memory>
#include <set>

#include "core/error.h"
#include "dist/launch_environment.h"
#include "dist/mpi_world.h"
#include "launcher/commands/bench.h"
#include "launcher/format.h"
#include "launcher/hang.h"
#include "launcher/job.h"
#include "launcher/mpirun.h"
#include "launcher/output_file.h"
#include "launcher/run_config.pb.h"
#include "launcher/run_setup.h"

namespace shardit {
namespace {

using Words = std::vector<std::string>;

struct CommFlags {
  int ranks = 2;
  bool ranks_given = false, max_given = false;
  int64_t max_bytes = int64_t{64} << 20;
  std::string config, json;
  Words sets;

  bool of_config() const { return !config.empty() || !sets.empty(); }
};

// What the weights of a config's units take when they are gathered: each size once, ascending.
std::vector<int64_t> unit_sizes(const RunConfig& config, int ranks) {
  const RunSetup setup = make_setup(config, plan_mesh(ranks, 0, static_cast<int>(config.parallel().replicate_group())));
  std::set<int64_t> sizes;
  for (const Unit& unit : setup.layout.units)
    sizes.insert(unit.elements() * static_cast<int64_t>(size_of(setup.precision.compute)));
  return {sizes.begin(), sizes.end()};
}

void print_head(const CommFlags& flags, const World& world) {
  std::printf("%d ranks, %d of them on this machine; sizes are of all parts together; times of the slowest rank\n",
              world.size(), world.local_size());
  if (flags.of_config())
    std::printf("sizes are those of the weights of %s, unit by unit\n", bench_config_name(flags.config).c_str());
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
  RunConfig config;
  CommBenchOptions options{.sizes = comm_sizes(flags.max_bytes)};
  if (flags.of_config())
    Ranks(world).together("config", [&] {
      config = bench_config(flags.config, flags.sets);
      options.sizes = unit_sizes(config, world.size());
    });
  const auto watchdog = end_hangs(world, config.parallel().watchdog_s());
  const bool speaks = world.rank() == 0;
  const auto ours = world.make_group("bench");
  const auto library = make_mpi_library_group();
  if (speaks) print_head(flags, world);
  const CommReport report =
      measure_collectives(*ours, library.get(), options, [&](const CommPoint& p) { speaks ? print_point(p) : void(); });
  if (!speaks) return 0;
  print_summary(report);
  if (!flags.json.empty()) write_text(flags.json, to_json(report).dump(2) + "\n");
  finish_output();
  return 0;
}

int run_comm(const CommFlags& flags) {
  if (!flags.json.empty()) check_output_file(flags.json);
  REQUIRE(!flags.max_given || !flags.of_config(),
          "bench comm: --max-bytes is for a run without a config, whose weights have sizes of their own");
  if (started_by_launcher()) {
    REQUIRE(!flags.ranks_given, "bench comm: --ranks is for a start alone; under a launcher the job's ranks are used");
    return run_job([&](World& world) { return bench_comm(flags, world); });
  }
  REQUIRE(flags.ranks > 1, "bench comm: one rank has nobody to send to; give --ranks 2 or more");
  Words arguments = {"bench", "comm"};
  if (flags.of_config()) {
    unit_sizes(bench_config(flags.config, flags.sets), flags.ranks);  // a mistake is told here, once
    append_config_flags(flags.config, flags.sets, arguments);
  } else {
    arguments.insert(arguments.end(), {"--max-bytes", std::to_string(flags.max_bytes)});
  }
  if (!flags.json.empty()) arguments.insert(arguments.end(), {"--json", flags.json});
  become_mpirun(flags.ranks, arguments);
}

}  // namespace

void add_bench_comm(CLI::App& bench, Handler& chosen) {
  CLI::App* command = add_subcommand(
      bench, "comm", "Times the collectives among ranks, by size, and checks every byte; alone it starts mpirun itself",
      "shardit bench comm --ranks 2");
  auto flags = std::make_shared<CommFlags>();
  CLI::Option* ranks =
      command->add_option("--ranks", flags->ranks, "Ranks to start; under a launcher those of the job are used")
          ->check(CLI::PositiveNumber)
          ->capture_default_str();
  CLI::Option* most =
      command->add_option("--max-bytes", flags->max_bytes, "The largest size; bytes, or with a unit: 64KiB, 4MiB")
          ->default_str("64MiB")
          ->transform(CLI::AsSizeValue(false) & CLI::Range(int64_t{1} << 10, int64_t{1} << 31));
  add_config_flags(command, flags->config, flags->sets,
                   "none, and sizes from 1 KiB on; with one, those of its weights");
  add_json_flag(command, flags->json);
  command->callback([flags, ranks, most, &chosen] {
    flags->ranks_given = ranks->count() > 0;
    flags->max_given = most->count() > 0;
    chosen = [flags] { return run_comm(*flags); };
  });
}

}  // namespace shardit

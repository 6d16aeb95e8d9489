// `shardit bench scaling`: one config on several numbers of ranks.
#include "launcher/bench_scaling.h"

#include <stdlib.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>

#include "core/error.h"
#include "dist/launch_environment.h"
#include "dist/sub_world.h"
#include "launcher/bench_comm.h"
#include "launcher/commands/bench.h"
#include "launcher/format.h"
#include "launcher/hang.h"
#include "launcher/job.h"
#include "launcher/machine.h"
#include "launcher/mpirun.h"
#include "launcher/output_file.h"
#include "launcher/progress.h"
#include "launcher/ranks.h"
#include "launcher/run_data.h"
#include "launcher/run_setup.h"
#include "launcher/threads.h"

namespace shardit {
namespace {

using Words = std::vector<std::string>;

struct ScalingFlags {
  std::string config, json, svg;
  Words sets;
  bool weak = false, strong = false, overlap = false, no_predict = false;
  std::vector<int> ranks;
  int steps = 20, turns = 3;

  // Where the plot goes, "" for nowhere.
  std::string plot() const {
    if (!svg.empty() || json.empty()) return svg;
    return std::filesystem::path(json).replace_extension(".svg").string();
  }
  Scaling scaling() const { return weak ? Scaling::kWeak : Scaling::kStrong; }
  std::vector<Wire> wires(int count) const {
    if (!overlap || count == 1) return {Wire::kOverlapped};
    return {Wire::kOff, Wire::kOverlapped, Wire::kInLine};
  }
};

// 1, 2, 4, … and the most.
std::vector<int> powers_up_to(int most) {
  std::vector<int> counts;
  for (int n = 1; n < most; n *= 2) counts.push_back(n);
  counts.push_back(most);
  return counts;
}

// All that could only be found wrong after minutes.
RunConfig check_scaling(const ScalingFlags& flags, const std::vector<int>& counts) {
  if (!flags.json.empty()) check_output_file(flags.json);
  if (!flags.plot().empty()) check_output_file(flags.plot());
  REQUIRE(flags.json.empty() || flags.json != flags.plot(),
          "bench scaling: the numbers and the plot would both be " + flags.json + ": give --json another name");
  const RunConfig config = bench_config(flags.config, flags.sets);
  open_training_data(config);
  for (int n : counts) {
    const auto replicas = static_cast<int>(config.parallel().replicate_group());
    make_setup(scaled(config, flags.scaling(), n), plan_mesh(n, 0, replicas));
  }
  return config;
}

// What overlapping communication with computation hides, and what it leaves.
void print_overlap(const std::vector<ScalingPoint>& points) {
  std::printf("%5s %16s %10s %12s %12s %14s %14s %14s\n", "ranks", "without wire ms", "efficiency", "step ms",
              "in line ms", "wire / without", "step / without", "in line / step");
  for (const ScalingPoint& p : points)
    if (p.off_step_ms > 0)
      std::printf("%5d %16.1f %8.1f %% %12.1f %12.1f %14.3f %14.3f %14.3f\n", p.ranks, p.off_step_ms,
                  100 * p.off_efficiency, p.step_ms, p.in_line_step_ms, p.wire_fraction(), p.step_ms / p.off_step_ms,
                  p.in_line_step_ms / p.step_ms);
}

void print_points(const std::vector<ScalingPoint>& points, const ScalingFlags& flags, int threads) {
  std::printf("%s scaling of %s, %s each; medians of %d steps in %d turns, of the slowest rank\n",
              flags.weak ? "weak" : "strong", bench_config_name(flags.config).c_str(), format_threads(threads).c_str(),
              flags.steps, flags.turns);
  std::printf("%5s %12s %10s %10s %9s %9s %10s %9s\n", "ranks", "images/step", "images/s", "efficiency", "predicted",
              "step ms", "exposed ms", "predicted");
  for (const ScalingPoint& p : points) {
    std::printf("%5d %12ld %10.1f %8.1f %% ", p.ranks, p.images, p.images_per_s(), 100 * p.efficiency);
    p.predicted_step_ms > 0 ? std::printf("%7.1f %%", 100 * p.predicted_efficiency) : std::printf("%9s", "-");
    std::printf(" %9.1f %10.2f ", p.step_ms, p.exposed_ms);
    p.predicted_step_ms > 0 ? std::printf("%9.2f\n", p.predicted_exposed_ms) : std::printf("%9s\n", "-");
  }
  std::printf(
      "Look at efficiency: images/s per rank, against the first line's. The prediction gives every rank cores of its "
      "own,\n"
      "and knows one rank's kernels and the link; what is lost beyond it is lost to sharing cores and memory.\n");
  if (flags.overlap) print_overlap(points);
}

void finish_scaling(const ScalingFlags& flags, const RunConfig& config, const std::vector<Turn>& turns,
                    const Measured* measured, int threads) {
  const std::vector<ScalingPoint> points = scaling_points(config, flags.scaling(), turns, measured, threads);
  print_points(points, flags, threads);
  if (!flags.json.empty()) write_text(flags.json, to_json(points).dump(2) + "\n");
  const std::string name = std::filesystem::path(bench_config_name(flags.config)).stem().string();
  if (!flags.plot().empty())
    write_text(flags.plot(), draw_scaling(points, (flags.weak ? "Weak scaling of " : "Strong scaling of ") + name,
                                          format_threads(threads) + " each, medians of " + std::to_string(flags.steps) +
                                              " steps in " + std::to_string(flags.turns) + " turns"));
  finish_output();
}

// Groups of the job's ranks, the rest waiting meanwhile.
int scaling_in_job(const ScalingFlags& flags, World& world) {
  Ranks ranks(world);
  const std::vector<int> counts = flags.ranks.empty() ? powers_up_to(world.size()) : flags.ranks;
  const int threads = compute_threads(ranks);
  RunConfig config;
  ranks.together("start", [&] {
    for (int n : counts)
      REQUIRE(n <= world.size(), "--ranks " + std::to_string(n) + ": the job has " + std::to_string(world.size()) +
                                     " ranks; start more, or none at all: alone the command starts them");
    config = check_scaling(flags, counts);
  });
  // Ranks that sit out a turn wait as long as it lasts: then no limit on calls is right.
  const bool all_work = std::all_of(counts.begin(), counts.end(), [&](int n) { return n == world.size(); });
  const auto watchdog = end_hangs(world, all_work ? config.parallel().watchdog_s() : 0);
  std::vector<Turn> turns;
  for (int turn = 0; turn < flags.turns; ++turn)
    for (int n : counts) {
      for (Wire wire : flags.wires(n))
        if (world.rank() < n)
          turns.push_back(
              measure_turn(scaled(config, flags.scaling(), n), *make_sub_world(world, n), wire, flags.steps, threads));
      ranks.control().barrier("turn");
    }
  std::optional<Measured> measured;
  if (!flags.no_predict) {
    ranks.on_first("kernels", [&] { measured = measure_alone(config, flags.steps, threads); });
    const Link link = world.size() > 1 ? measure_link(ranks.control()) : Link{};
    if (measured) measured->link = link;
  }
  ranks.on_first("report", [&] { finish_scaling(flags, config, turns, measured ? &*measured : nullptr, threads); });
  return 0;
}

// A job of its own for every turn, each writing its numbers to a file.
class Jobs {
 public:
  explicit Jobs(int threads) : folder_((std::filesystem::temp_directory_path() / "shardit-bench-XXXXXX").string()) {
    if (!mkdtemp(folder_.data())) throw IoError("cannot make a folder " + folder_ + "; set TMPDIR to another place");
    setenv("OMP_NUM_THREADS", std::to_string(threads).c_str(), 1);
  }
  ~Jobs() {
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }
  Jobs(const Jobs&) = delete;

  std::vector<Turn> turn(const ScalingFlags& flags, int ranks) {
    Words words = {"bench",
                   "scaling",
                   flags.weak ? "--weak" : "--strong",
                   "--turns",
                   "1",
                   "--no-predict",
                   "--ranks",
                   std::to_string(ranks),
                   "--steps",
                   std::to_string(flags.steps)};
    if (flags.overlap) words.push_back("--overlap");
    append_config_flags(flags.config, flags.sets, words);
    const Json point = numbers_of(ranks, words).at(0);
    std::vector<Turn> turns = {{ranks, Wire::kOverlapped, point.at("step_ms"), point.at("exposed_ms")}};
    if (flags.wires(ranks).size() == 1) return turns;
    turns.push_back({ranks, Wire::kInLine, point.at("step_ms_in_line")});
    turns.push_back({ranks, Wire::kOff, point.at("step_ms_without_communication")});
    return turns;
  }

  Link link(int ranks) {
    const Json link = numbers_of(ranks, {"bench", "comm", "--max-bytes", "4MiB"}).at("link");
    return {link.at("step_us"), link.at("gb_per_s")};
  }

 private:
  Json numbers_of(int ranks, Words words) {
    const std::string path = folder_ + "/numbers.json";
    words.insert(words.end(), {"--json", path});
    run_under_mpirun(ranks, words);
    std::ifstream file(path);
    return Json::parse(file);
  }

  std::string folder_;
};

int scaling_alone(const ScalingFlags& flags) {
  const std::vector<int> counts = flags.ranks.empty() ? powers_up_to(look_at_machine(".").cores) : flags.ranks;
  const RunConfig config = check_scaling(flags, counts);
  const int most = *std::max_element(counts.begin(), counts.end()), threads = compute_threads(most);
  Jobs jobs(threads);
  std::optional<ProgressBar> bar;
  const Screen screen = Screen::standard_output();
  const auto jobs_to_do = static_cast<int64_t>(flags.turns * std::ssize(counts));
  if (screen.terminal) bar.emplace(screen, "training", jobs_to_do, "jobs");
  std::vector<Turn> turns;
  int64_t jobs_done = 0;
  for (int turn = 0; turn < flags.turns; ++turn)
    for (int n : counts) {
      const std::vector<Turn> own = jobs.turn(flags, n);
      turns.insert(turns.end(), own.begin(), own.end());
      if (bar) bar->update(++jobs_done);
    }
  bar.reset();
  std::optional<Measured> measured;
  if (!flags.no_predict) {
    measured = measure_alone(config, flags.steps, threads);
    if (most > 1) measured->link = jobs.link(most);
  }
  finish_scaling(flags, config, turns, measured ? &*measured : nullptr, threads);
  return 0;
}

int run_scaling(const ScalingFlags& flags) {
  if (!started_by_launcher()) return scaling_alone(flags);
  return run_job([&](World& world) { return scaling_in_job(flags, world); });
}

}  // namespace

void add_bench_scaling(CLI::App& bench, Handler& chosen) {
  CLI::App* command = add_subcommand(
      bench, "scaling",
      "Trains a config on several numbers of ranks, beside a prediction; writes no run directory. Alone it starts "
      "mpirun itself, in a job it uses groups of its ranks",
      "shardit bench scaling configs/demo.textproto --weak --ranks 1,2 --svg scaling.svg");
  auto flags = std::make_shared<ScalingFlags>();
  add_config_flags(command, flags->config, flags->sets);
  CLI::Option* weak = command->add_flag("--weak", flags->weak, "Each rank has the config's global_batch_size images");
  command->add_flag("--strong", flags->strong, "All ranks share the config's global_batch_size images (default)")
      ->excludes(weak);
  command
      ->add_option("--ranks", flags->ranks,
                   "Rank counts, separated by commas; default 1, 2, 4, … up to the job's ranks, or alone to the cores")
      ->delimiter(',')
      ->check(CLI::PositiveNumber);
  command->add_option("--steps", flags->steps, "Steps of a turn, after two that are not counted")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--turns", flags->turns, "How often each rank count has its turn")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_flag("--overlap", flags->overlap, "Also with communication in line with computation, and without any");
  command->add_flag("--no-predict", flags->no_predict, "Leave out the prediction");
  add_json_flag(command, flags->json);
  command->add_option("--svg", flags->svg,
                      "Also draw images/s by ranks into this file; default: beside that of --json, as .svg");
  command->callback([flags, &chosen] { chosen = [flags] { return run_scaling(*flags); }; });
}

}  // namespace shardit

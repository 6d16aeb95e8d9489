// `shardit bench data`: images per second by loader threads.
#include "launcher/bench_data.h"

#include <algorithm>
#include <cstdio>
#include <memory>

#include "core/error.h"
#include "launcher/commands/bench.h"
#include "launcher/output_file.h"
#include "launcher/threads.h"

namespace shardit {
namespace {

struct DataFlags {
  std::string config, json;
  std::vector<std::string> sets;
  std::vector<int> threads;
  double seconds = DataBenchOptions().seconds;
};

// 1, 2, 4, … to the cores of this machine, and what the config says.
std::vector<int> thread_counts(const RunConfig& config) {
  std::vector<int> counts = {static_cast<int>(config.data().threads())};
  for (int threads = 1; threads <= compute_threads(); threads *= 2) counts.push_back(threads);
  std::sort(counts.begin(), counts.end());
  counts.erase(std::unique(counts.begin(), counts.end()), counts.end());
  return counts;
}

void print_report(const DataReport& r) {
  std::printf("%s: %lld images, made %lld x %lld, in micro-batches of %lld\n", r.data.c_str(),
              static_cast<long long>(r.images), static_cast<long long>(r.side), static_cast<long long>(r.side),
              static_cast<long long>(r.micro_batch_images));
  std::printf("%8s %10s %10s\n", "threads", "images/s", "each");
  for (const DataRate& rate : r.rates)
    std::printf("%8d %10.0f %10.0f\n", rate.threads, rate.images_per_s, rate.images_per_s / rate.threads);
  if (!r.parts) return;
  const ImageParts& p = *r.parts;
  const double all = p.read_us + p.decode_us + p.crop_us + p.mirror_us;
  std::printf("one thread, per image (%lld of them): %.1f us\n", static_cast<long long>(p.images), all);
  for (const auto& [name, us] :
       {std::pair{"read", p.read_us}, {"decode", p.decode_us}, {"crop", p.crop_us}, {"mirror", p.mirror_us}})
    std::printf("%8s %10.1f us %8.1f %%\n", name, us, 100 * us / all);
}

int bench_data(const DataFlags& flags) {
  const RunConfig config = bench_config(flags.config, flags.sets);
  if (!flags.json.empty()) check_output_file(flags.json);
  const DataReport report = measure_data(
      config, {.threads = flags.threads.empty() ? thread_counts(config) : flags.threads, .seconds = flags.seconds});
  print_report(report);
  if (!flags.json.empty()) write_text(flags.json, to_json(report).dump(2) + "\n");
  return 0;
}

}  // namespace

void add_bench_data(CLI::App& bench, Handler& chosen) {
  CLI::App* command = add_subcommand(
      bench, "data", "Images per second that the loader makes ready, by threads; and where the time goes",
      "shardit bench data configs/demo.textproto");
  auto flags = std::make_shared<DataFlags>();
  add_config_flags(command, flags->config, flags->sets);
  command->add_option("--threads", flags->threads, "Loader threads to try; default: 1, 2, 4, … to the cores")
      ->delimiter(',')
      ->check(CLI::Range(1, 256));
  command->add_option("--seconds", flags->seconds, "That each is measured")
      ->capture_default_str()
      ->check(CLI::Range(0.01, 3600.0));
  add_json_flag(command, flags->json);
  command->callback([flags, &chosen] { chosen = by_first_rank([flags] { return bench_data(*flags); }); });
}

}  // namespace shardit

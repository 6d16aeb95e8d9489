// `shardit bench ops`: the kernels of a config, one by one.
#include "launcher/bench_ops.h"

#include <cstdio>
#include <filesystem>
#include <memory>

#include "core/error.h"
#include "launcher/commands/bench.h"
#include "launcher/format.h"
#include "launcher/output_file.h"
#include "launcher/threads.h"
#include "launcher/tune.h"

namespace shardit {
namespace {

struct OpsFlags {
  std::string config, json;
  std::vector<std::string> sets;
  int times = 10;
  bool tune = false;
};

// "fp32[1024, 256] x fp32[768, 256] -> fp32[1024, 768]", as much as fits a line.
std::string types_text(const KernelTimes::Kernel& kernel) {
  constexpr size_t kFits = 60;
  std::string text;
  for (const Type& type : kernel.in) text += (text.empty() ? "" : " ") + type.str();
  if (!kernel.out.empty()) text += " -> " + kernel.out.front().str();
  return text.size() <= kFits ? text : text.substr(0, kFits - 2) + "..";
}

void print_bench(const OpsBench& bench) {
  std::printf("%s, %s; medians\n", bench.device.c_str(), format_threads(bench.threads).c_str());
  if (!bench.products.empty()) std::printf("%s\n", bench.products.c_str());
  std::printf("ceilings: %s\n\n%-24s %5s %9s %9s %8s  %-5s %7s  %s\n", text_of(bench.ceilings).c_str(), "op", "runs",
              "ms", "GFLOP/s", "GB/s", "limit", "of it", "first operands");
  for (const OpTime& op : bench.ops)
    std::printf("%-24s %5zu %9.4f %9.1f %8.2f  %-5s %7.2f  %s\n", op.kernel.card.c_str(), op.kernel.ms.size(), op.ms,
                op.gflop_per_s(), op.gb_per_s(), name_of(op.floor.limit), op.fraction_of_ceiling(),
                types_text(op.kernel).c_str());
}

void print_tuned(const TunedProduct& p) {
  if (p.algorithm)
    std::printf("%6d %9.1f %9.1f %6.3f  %s\n", p.tried, p.first_us, p.best_us, p.first_us / p.best_us, p.key.c_str());
  else
    std::printf("%6d %9.1f %9s %6s  %s: no bits repeat, left out\n", p.tried, p.first_us, "-", "-", p.key.c_str());
  std::fflush(stdout);
}

int tune(const RunConfig& config, const std::string& json) {
  const std::string& path = config.product_table();
  REQUIRE(!path.empty(), "bench ops --tune: no file is named that it could write; add --set product_table=FILE");
  check_output_file(path);
  const ProductTable before = std::filesystem::exists(path) ? read_product_table(path) : ProductTable();
  const TuningWork work = work_for_tuning(config);
  std::printf("%s: %zu products; medians, operands in memory\n", work.device_name.c_str(), work.products.size());
  std::printf("%6s %9s %9s %6s  %s\n", "tried", "first us", "best us", "ratio", "product");
  std::vector<TunedProduct> tuned;
  for (const Product& product : work.products) print_tuned(tuned.emplace_back(tune_product(product)));
  PosixFiles files;
  replace_file(files, path, text_of(with(before, work.device_name, tuned)));
  std::printf("wrote %s\n", path.c_str());
  if (!json.empty()) write_text(json, to_json(tuned).dump(2) + "\n");
  return 0;
}

int run_ops(const OpsFlags& flags) {
  if (!flags.json.empty()) check_output_file(flags.json);
  const RunConfig config = bench_config(flags.config, flags.sets);
  if (flags.tune) return tune(config, flags.json);
  const OpsBench bench = measure_ops(config, flags.times, compute_threads());
  print_bench(bench);
  if (!flags.json.empty()) write_text(flags.json, to_json(bench).dump(2) + "\n");
  return 0;
}

}  // namespace

void add_bench_ops(CLI::App& bench, Handler& chosen) {
  CLI::App* command = add_subcommand(
      bench, "ops",
      "Times every kernel of a config's training, validation and sampling, against its card's cost and what this "
      "machine gives at best",
      "shardit bench ops configs/bench-cpu.textproto --json ops.json");
  auto flags = std::make_shared<OpsFlags>();
  add_config_flags(command, flags->config, flags->sets);
  command->add_option("--times", flags->times, "Runs of each graph")->check(CLI::PositiveNumber)->capture_default_str();
  command->add_flag(
      "--tune", flags->tune,
      "On a GPU: find the library's fastest algorithm for each matrix product, and write them to the file "
      "that the config calls product_table");
  add_json_flag(command, flags->json);
  command->callback([flags, &chosen] { chosen = by_first_rank([flags] { return run_ops(*flags); }); });
}

}  // namespace shardit

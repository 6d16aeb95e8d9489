// `shardit bench ops`: the kernels of a config, one by one.
#include "launcher/bench_ops.h"

#include <cstdio>
#include <memory>

#include "launcher/commands/bench.h"
#include "launcher/format.h"
#include "launcher/output_file.h"
#include "launcher/threads.h"

namespace shardit {
namespace {

struct OpsFlags {
  std::string config, json;
  std::vector<std::string> sets;
  int times = 10;
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
  std::printf("ceilings: %s\n\n%-24s %5s %9s %9s %8s  %-5s %7s  %s\n", text_of(bench.ceilings).c_str(), "op", "runs",
              "ms", "GFLOP/s", "GB/s", "limit", "of it", "first operands");
  for (const OpTime& op : bench.ops)
    std::printf("%-24s %5zu %9.4f %9.1f %8.2f  %-5s %7.2f  %s\n", op.kernel.card.c_str(), op.kernel.ms.size(), op.ms,
                op.gflop_per_s(), op.gb_per_s(), name_of(op.floor.limit), op.fraction_of_ceiling(),
                types_text(op.kernel).c_str());
}

int run_ops(const OpsFlags& flags) {
  if (!flags.json.empty()) check_output_file(flags.json);
  const OpsBench bench = measure_ops(bench_config(flags.config, flags.sets), flags.times, compute_threads());
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
  add_json_flag(command, flags->json);
  command->callback([flags, &chosen] { chosen = by_first_rank([flags] { return run_ops(*flags); }); });
}

}  // namespace shardit

// For a machine with a GPU: every device kernel against its CPU kernel, and with --bench how near to the memory's speed
// they are.
//
//   gpu_sweep [--bench] [--json FILE] [--seeds N] [--cards NAME…]
//
// Exit code: 0 all agree, 1 a kernel differs, or a product is wrong or does not repeat, 2 a wrong flag, 3 no GPU or an
// error of CUDA.
#include <algorithm>
#include <cstdio>
#include <fstream>
#include <map>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "ops/cards.h"
#include "tests/gpu/bench.h"
#include "tests/gpu/device_memory.h"
#include "tests/ops/device_nodes.h"

namespace shardit {
namespace {

struct CardReport {
  int nodes = 0;
  std::vector<std::string> failures;
};

void check(const NodeCase& c, const NodeResult& cpu, KernelMemory& memory, CardReport& report) {
  const auto expect = [&](const std::string& text, const char* where) {
    if (!text.empty()) report.failures.push_back(text + where);
  };
  ++report.nodes;
  const NodeResult first = run_on_device(c, memory);
  expect(difference(c, cpu, first), "");
  expect(difference(c, cpu, run_on_device(c, memory, Addresses::kShifted)), ", at addresses that do not fit packs");
  expect(difference(c, cpu, run_on_device(c, memory, Addresses::kInPlace)), ", where outputs reuse inputs");
  if (run_on_device(c, memory).out != first.out) report.failures.push_back(c.name + ": a second run gives other bits");
}

// A product that the library refuses is a failure of its card, not the end of the sweep.
template <typename F> void reporting(CardReport& report, const std::string& name, F&& f) {
  try {
    f();
  } catch (const DeviceError& e) {
    report.failures.push_back(name + ": " + e.what());
  }
}

// All cards if none is named.
std::vector<const OpCard*> cards_called(const std::vector<std::string>& names) {
  if (names.empty()) return {all_cards().begin(), all_cards().end()};
  std::vector<const OpCard*> cards;
  for (const std::string& name : names) {
    const auto card = std::ranges::find(all_cards(), name, &OpCard::name);
    REQUIRE(card != all_cards().end(), "gpu_sweep --cards: there is no card " + name);
    cards.push_back(*card);
  }
  return cards;
}

std::map<std::string, CardReport> sweep(const std::vector<const OpCard*>& cards, uint64_t seeds) {
  std::map<std::string, CardReport> reports;
  DeviceArena memory(size_t{1} << 28);
  for (const OpCard* card : cards)
    for (uint64_t seed = 0; seed < seeds; ++seed)
      for_device_nodes(*card, 1000 + seed, [&](const NodeCase& c, const NodeResult& cpu) {
        CardReport& report = reports[c.node->card->name];
        reporting(report, c.name, [&] { check(c, cpu, memory, report); });
      });
  for (const OpCard* card : cards) {
    if (!card->expand) continue;
    CardReport& report = reports[card->name];
    reporting(report, card->name, [&] {
      const auto differences = expansion_differences(*card, 1000, memory);
      report.failures.insert(report.failures.end(), differences.begin(), differences.end());
    });
  }
  return reports;
}

int print_sweep(const std::map<std::string, CardReport>& reports) {
  int failed = 0;
  for (const auto& [name, report] : reports) {
    std::printf("%-24s %4d nodes  %s\n", name.c_str(), report.nodes, report.failures.empty() ? "ok" : "DIFFERS");
    for (size_t i = 0; i < std::min<size_t>(report.failures.size(), 3); ++i)
      std::printf("    %s\n", report.failures[i].c_str());
    failed += !report.failures.empty();
  }
  std::printf("%zu cards, %d of them differ\n", reports.size(), failed);
  return failed;
}

void print_bench(const std::vector<BenchResult>& results) {
  const double copy = results[0].bytes_per_second();
  std::printf("\n%-36s %10s %10s %10s %8s\n", "card", "MB", "ms", "GB/s", "of copy");
  for (const BenchResult& r : results)
    std::printf("%-36s %10.1f %10.4f %10.1f %8.3f\n", r.name.c_str(), r.bytes / 1e6, r.milliseconds,
                r.bytes_per_second() / 1e9, r.bytes_per_second() / copy);
}

constexpr double kPeakFlops = 989e12;  // NVIDIA's number for bf16 on an H100 or H200, dense

void print_products(const std::vector<ProductResult>& results) {
  std::printf("\n%-36s %10s %10s %10s %8s %10s  %s\n", "product in bf16", "ms", "TFLOP/s", "of ceiling", "of 989",
              "error", "bits");
  for (const ProductResult& r : results)
    std::printf("%-36s %10.4f %10.1f %10.3f %8.3f %10.1e  %s%s\n", r.name.c_str(), r.milliseconds,
                r.flops_per_second() / 1e12, r.flops_per_second() / results[0].flops_per_second(),
                r.flops_per_second() / kPeakFlops, r.error, r.repeats ? "repeat" : "DO NOT REPEAT",
                r.error <= r.bound ? "" : ", WRONG");
}

struct Benchmarks {
  std::vector<BenchResult> kernels;
  std::vector<ProductResult> products;
};

nlohmann::json json_of(const cudaDeviceProp& gpu, const std::map<std::string, CardReport>& reports,
                       const Benchmarks& results) {
  nlohmann::json json{{"gpu", gpu.name}, {"compute_capability", gpu.major * 10 + gpu.minor}};
  for (const auto& [name, report] : reports)
    json["sweep"][name] = {{"nodes", report.nodes}, {"failures", report.failures}};
  for (const BenchResult& r : results.kernels)
    json["bench"].push_back({{"name", r.name},
                             {"bytes", r.bytes},
                             {"milliseconds", r.milliseconds},
                             {"bytes_per_second", r.bytes_per_second()},
                             {"of_copy", r.bytes_per_second() / results.kernels[0].bytes_per_second()}});
  for (const ProductResult& r : results.products)
    json["products"].push_back({{"name", r.name},
                                {"flops", r.flops},
                                {"milliseconds", r.milliseconds},
                                {"flops_per_second", r.flops_per_second()},
                                {"of_ceiling", r.flops_per_second() / results.products[0].flops_per_second()},
                                {"of_989_tflops", r.flops_per_second() / kPeakFlops},
                                {"error", r.error},
                                {"repeats", r.repeats}});
  return json;
}

cudaDeviceProp find_gpu() {
  int count = 0;
  SHARDIT_CUDA(cudaGetDeviceCount(&count));
  if (count == 0) throw DeviceError("CUDA finds no device");
  cudaDeviceProp gpu;
  SHARDIT_CUDA(cudaGetDeviceProperties(&gpu, 0));
  return gpu;
}

struct Flags {
  bool bench = false;
  std::string json;
  uint64_t seeds = 2;
  std::vector<std::string> cards;
};

int run(const Flags& flags) {
  const cudaDeviceProp gpu = find_gpu();
  std::printf("%s, sm_%d%d, %d multiprocessors, %.1f GB, L2 %.1f MB\n\n", gpu.name, gpu.major, gpu.minor,
              gpu.multiProcessorCount, static_cast<double>(gpu.totalGlobalMem) / 1e9,
              static_cast<double>(gpu.l2CacheSize) / 1e6);
  const auto reports = sweep(cards_called(flags.cards), flags.seeds);
  int failed = print_sweep(reports);
  std::fflush(stdout);
  Benchmarks results;
  if (flags.bench) {
    results.products = bench_products();
    print_products(results.products);
    results.kernels = bench_device_kernels();
    print_bench(results.kernels);
  }
  if (!flags.json.empty()) std::ofstream(flags.json) << json_of(gpu, reports, results).dump(2) << "\n";
  for (const ProductResult& r : results.products) failed += !r.is_right();
  return failed == 0 ? 0 : 1;
}

}  // namespace
}  // namespace shardit

int main(int argc, char** argv) {
  shardit::Flags flags;
  CLI::App app("Device kernels against the CPU's, on this machine's GPU");
  app.add_flag("--bench", flags.bench, "time the kernels at the sizes of DiffiT-XL/2 as well");
  app.add_option("--json", flags.json, "write the results to this file");
  app.add_option("--seeds", flags.seeds, "how many sets of random inputs (2)");
  app.add_option("--cards", flags.cards, "the cards to check (all)");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : 2;
  }
  try {
    return shardit::run(flags);
  } catch (const shardit::Error& e) {
    std::fprintf(stderr, "gpu_sweep: %s\n", e.what());
    return e.exit_code;
  }
}

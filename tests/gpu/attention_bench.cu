// Attention on a GPU: every result of every way against an fp64 reference computed there, twice to the bit, and timed.
// A program of its own that needs nothing but the CUDA runtime:
//
//   nvcc -std=c++20 -O3 -fmad=false --expt-relaxed-constexpr -gencode=arch=compute_90a,code=sm_90a -I.
//     -o attention_bench tests/gpu/attention_bench.cu ops/attention_{plain,ways}.cu ops/attention_*_sm90.cu
//   ./attention_bench [--variants] [--json FILE]     exits with 1 if anything is wrong
//   ./attention_bench --once     only the kernels of the large shapes, once each: for a profiler
//
// TFLOP/s count 4 N N D H B flops forward and 10 N N D H B backward (the products that cannot be spared); what the
// backward kernels compute again is not counted.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "ops/attention_backward.cu"
#include "ops/attention_forward.cu"
#include "tests/gpu/attention_case.h"

namespace shardit {
namespace {

struct Times {
  double forward = 0, backward = 0;  // microseconds
  std::vector<std::pair<std::string, double>> backward_parts;
};

struct Result {
  Sizes z;
  Way way;
  std::array<Deviation, kErrors> errors;
  bool equal = true, near = true;
  Times us;
  std::vector<std::pair<std::string, double>> variants;
};

// ---- times ---------------------------------------------------------------------------------------------------------

double median_us(const std::function<void()>& run) {
  constexpr int kWarmUp = 5, kSamples = 25, kRuns = 4;
  cudaEvent_t begin, end;
  SHARDIT_CUDA(cudaEventCreate(&begin));
  SHARDIT_CUDA(cudaEventCreate(&end));
  for (int i = 0; i < kWarmUp; ++i) run();
  std::vector<float> ms(kSamples);
  for (float& sample : ms) {
    SHARDIT_CUDA(cudaEventRecord(begin));
    for (int i = 0; i < kRuns; ++i) run();
    SHARDIT_CUDA(cudaEventRecord(end));
    SHARDIT_CUDA(cudaEventSynchronize(end));
    SHARDIT_CUDA(cudaEventElapsedTime(&sample, begin, end));
  }
  std::nth_element(ms.begin(), ms.begin() + kSamples / 2, ms.end());
  return ms[kSamples / 2] * 1000.0 / kRuns;
}

void time_variants(const Sizes& z, const Forward& f, const Backward& b, Result& result) {
  using namespace attention_device;
  const auto add = [&](const char* name, const std::function<void()>& run) {
    result.variants.emplace_back(name, median_us(run));
  };
  visit_tensor_shapes(z, [&]<int D, int W>() {
    add("forward keys=64 2/SM", [&] { warp_forward_as<D, W, 64, false, 2>(z, f, nullptr); });
    add("forward keys=64 held 2/SM", [&] { warp_forward_as<D, W, 64, true, 2>(z, f, nullptr); });
    add("forward keys=32 2/SM", [&] { warp_forward_as<D, W, 32, false, 2>(z, f, nullptr); });
    add("forward keys=32 held 2/SM", [&] { warp_forward_as<D, W, 32, true, 2>(z, f, nullptr); });
    add("forward keys=32 3/SM", [&] { warp_forward_as<D, W, 32, false, 3>(z, f, nullptr); });
    add("by query", [&] { query_gradient_as<D, W, false, false>(z, b, nullptr); });
    add("by query, q held", [&] { query_gradient_as<D, W, true, false>(z, b, nullptr); });
    add("by query, q and dout held", [&] { query_gradient_as<D, W, true, true>(z, b, nullptr); });
  });
}

template <typename T> void measure(Case<T>& c, bool variants, Result& result) {
  using namespace attention_device;
  const Sizes& z = c.z;
  const Forward f = c.forward();
  const Backward b = c.backward();
  result.us.forward = median_us([&] { attention_device::forward(z, f, result.way, nullptr); });
  result.us.backward = median_us([&] { attention_device::backward(z, b, result.way, nullptr); });
  const auto add = [&](const char* name, const std::function<void()>& run) {
    result.us.backward_parts.emplace_back(name, median_us(run));
  };
  if (result.way == Way::kWarpgroups) {
    add("prepare", [&] { warpgroup_prepare(z, b, nullptr); });
    add("gradient", [&] { warpgroup_gradient(z, b, nullptr); });
    add("sums", [&] { sum_bias_by_keys(z, b, nullptr); });
  } else {
    visit_tensor_shapes(z, [&]<int D, int W>() {
      add("by query", [&] { query_gradient_as<D, W, true, false>(z, b, nullptr); });
      add("by key", [&] { key_gradient_as<D, W>(z, b, nullptr); });
    });
    add("sums", [&] { sum_partials(z, b, nullptr); });
    if (variants) time_variants(z, f, b, result);
  }
}

template <typename T> Result run_case(const Sizes& z, Way way, uint64_t seed, bool timed, bool variants) {
  Result result{z, way};
  Case<T> c(z, seed, timed ? 1 : 5);  // large biases, so that the running softmax must change its reference
  const std::vector<char> first = c.run(way, 0xff);
  result.equal = first == c.run(way, 0x5a);
  result.errors = errors_of(c);
  result.near =
      std::all_of(result.errors.begin(), result.errors.end(), [&](const Deviation& e) { return near(z.type, e); });
  if (timed) measure(c, variants, result);
  return result;
}

// ---- what it says --------------------------------------------------------------------------------------------------

double tflops(const Sizes& z, double per_pair, double us) {
  return per_pair * z.images * z.heads * z.tokens * z.tokens * z.depth / us * 1e-6;
}

constexpr const char* kWays[] = {"plain", "warps", "warpgroups"};

std::string shape_name(const Sizes& z) {
  char text[80];
  std::snprintf(text, sizeof text, "%s B%d H%d N%d D%d", z.type == DType::kBF16 ? "bf16" : "fp32", z.images, z.heads,
                z.tokens, z.depth);
  return text;
}
std::string name_of(const Result& r) { return shape_name(r.z) + " " + kWays[static_cast<int>(r.way)]; }

void print(const Result& r) {
  std::printf("%-36s %s, %s | rms errors:", name_of(r).c_str(), r.near ? "near" : "WRONG",
              r.equal ? "repeats" : "DOES NOT REPEAT");
  for (int i = 0; i < kErrors; ++i) std::printf(" %s %.1e", kNames[i], r.errors[i].relative);
  std::printf("\n");
  if (r.us.forward > 0) {
    std::printf("%-36s forward %.1f us %.0f TFLOP/s | backward %.1f us %.0f TFLOP/s (", "", r.us.forward,
                tflops(r.z, 4, r.us.forward), r.us.backward, tflops(r.z, 10, r.us.backward));
    for (const auto& [name, us] : r.us.backward_parts) std::printf(" %s %.1f", name.c_str(), us);
    std::printf(" )\n");
  }
  for (const auto& [name, us] : r.variants) {
    const bool forward = name.starts_with("forward");
    std::printf("%-36s   %-28s %8.1f us  %.0f TFLOP/s of %s\n", "", name.c_str(), us, tflops(r.z, forward ? 4 : 6, us),
                forward ? "4 NND" : "its 6 NND");
  }
  std::fflush(stdout);
}

std::string json_of(const Result& r) {
  std::string text = "{\"case\": \"" + name_of(r) + "\", \"near\": " + (r.near ? "true" : "false") +
                     ", \"repeats\": " + (r.equal ? "true" : "false") + ", \"errors\": {";
  char piece[200];
  for (int i = 0; i < kErrors; ++i) {
    std::snprintf(piece, sizeof piece, "%s\"%s\": [%.3g, %.3g]", i ? ", " : "", kNames[i], r.errors[i].largest,
                  r.errors[i].relative);
    text += piece;
  }
  std::snprintf(piece, sizeof piece, "}, \"forward_us\": %.2f, \"backward_us\": %.2f", r.us.forward, r.us.backward);
  text += piece;
  text += ", \"variants_us\": {";
  const char* before = "";
  for (const auto* times : {&r.us.backward_parts, &r.variants})
    for (const auto& [name, us] : *times) {
      std::snprintf(piece, sizeof piece, "%s\"%s\": %.2f", before, name.c_str(), us);
      text += piece;
      before = ", ";
    }
  return text + "}}";
}

Sizes sizes(int images, int heads, int window, int depth, DType type = DType::kBF16) {
  return {images, window * window, window, heads, depth, type};
}

std::vector<Sizes> large_shapes() {
  return {sizes(32, 16, 16, 72), sizes(8, 16, 32, 72), sizes(32, 16, 16, 64), sizes(8, 16, 32, 64)};
}

std::vector<Way> tensor_core_ways() {
  std::vector<Way> ways = {Way::kWarps};
  if (has_warpgroup_products()) ways.push_back(Way::kWarpgroups);
  return ways;
}

int run_once() {
  for (const Sizes& z : large_shapes()) Case<BF16>(z, 1, 1).run(tensor_core_ways().back(), 0);
  return 0;
}

// What each large shape takes, and what it leaves. `results`: all ways of a shape stand in a row.
void print_choices(const std::vector<Result>& results) {
  const auto print_pass = [](const char* pass, const std::vector<Result>& ways, Way chosen, double products,
                             double Times::*us) {
    for (const Result& r : ways)
      if (r.way == chosen)
        std::printf(" | %s %s %.1f us %.0f TFLOP/s", pass, kWays[static_cast<int>(r.way)], r.us.*us,
                    tflops(r.z, products, r.us.*us));
    for (const Result& r : ways)
      if (r.way != chosen) std::printf(" (%s %.1f)", kWays[static_cast<int>(r.way)], r.us.*us);
  };
  for (size_t i = 0; i < results.size(); ++i) {
    if (results[i].us.forward == 0) continue;
    std::vector<Result> ways = {results[i]};
    while (i + 1 < results.size() && shape_name(results[i + 1].z) == shape_name(ways[0].z))
      ways.push_back(results[++i]);
    const Sizes& z = ways[0].z;
    std::printf("%-24s", shape_name(z).c_str());
    print_pass("forward", ways, attention_device::forward_way(z), 4, &Times::forward);
    print_pass("backward", ways, attention_device::backward_way(z), 10, &Times::backward);
    const bool near = std::all_of(ways.begin(), ways.end(), [](const Result& r) { return r.near; });
    const bool equal = std::all_of(ways.begin(), ways.end(), [](const Result& r) { return r.equal; });
    std::printf(" | %s, %s\n", near ? "near" : "WRONG", equal ? "repeats" : "DOES NOT REPEAT");
  }
}

int run(bool variants, const std::string& json) {
  cudaDeviceProp device;
  SHARDIT_CUDA(cudaGetDeviceProperties(&device, 0));
  std::printf("%s, %d SMs\n", device.name, device.multiProcessorCount);
  const uint64_t seed = uint64_t{std::random_device{}()} << 20;
  std::vector<Result> results;
  const auto add = [&](const Result& r) {
    print(r);
    results.push_back(r);
  };
  for (const Sizes& z : {sizes(2, 3, 7, 12, DType::kF32), sizes(2, 2, 16, 72, DType::kF32),
                         sizes(1, 2, 32, 64, DType::kF32), sizes(1, 1, 1, 5, DType::kF32)})
    add(run_case<float>(z, Way::kPlain, seed, false, false));
  for (const Sizes& z : {sizes(3, 2, 3, 5), sizes(2, 2, 5, 72), sizes(2, 2, 8, 64)})
    add(run_case<BF16>(z, Way::kPlain, seed, false, false));
  const std::vector<Way> ways = tensor_core_ways();
  for (const Sizes& z : {sizes(1, 1, 16, 64), sizes(3, 5, 16, 72), sizes(1, 3, 32, 72), sizes(2, 1, 32, 64)})
    for (const Way way : ways) add(run_case<BF16>(z, way, seed, false, false));
  for (const Sizes& z : large_shapes())
    for (const Way way : ways) add(run_case<BF16>(z, way, seed, true, variants));
  if (!json.empty()) {
    std::ofstream file(json);
    file << "{\"device\": \"" << device.name << "\", \"cases\": [";
    for (size_t i = 0; i < results.size(); ++i) file << (i ? ",\n" : "\n") << json_of(results[i]);
    file << "\n]}\n";
  }
  print_choices(results);
  const bool right = std::all_of(results.begin(), results.end(), [](const Result& r) { return r.near && r.equal; });
  std::printf(right ? "all near the reference, all repeat to the bit\n" : "SOMETHING IS WRONG\n");
  return right ? 0 : 1;
}

}  // namespace
}  // namespace shardit

int main(int argc, char** argv) {
  bool variants = false, once = false;
  std::string json;
  for (int i = 1; i < argc; ++i) {
    if (!std::strcmp(argv[i], "--variants"))
      variants = true;
    else if (!std::strcmp(argv[i], "--once"))
      once = true;
    else if (!std::strcmp(argv[i], "--json") && i + 1 < argc)
      json = argv[++i];
    else
      return std::fprintf(stderr, "usage: attention_bench [--variants] [--json FILE] | --once\n"), 2;
  }
  try {
    return once ? shardit::run_once() : shardit::run(variants, json);
  } catch (const std::exception& e) {
    return std::fprintf(stderr, "attention_bench: %s\n", e.what()), 3;
  }
}

// Attention on a GPU: every result of every way against an fp64 reference computed there, twice to the bit, and timed.
// A program of its own that needs nothing but the CUDA runtime:
//
//   nvcc -std=c++20 -O3 -fmad=false --expt-relaxed-constexpr -gencode=arch=compute_90a,code=sm_90a -I. -o
//   attention_bench \
//       tests/gpu/attention_bench.cu ops/attention_plain.cu ops/attention_ways.cu ops/attention_*_sm90.cu
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

#include "core/cuda_error.h"
#include "ops/attention_backward.cu"
#include "ops/attention_forward.cu"

namespace shardit {
namespace {

using attention_device::Backward;
using attention_device::Forward;
using attention_device::Sizes;
using attention_device::Way;
using attention_device::Workspace;

class Buffer {  // device memory
 public:
  explicit Buffer(int64_t bytes) : bytes_(bytes) { SHARDIT_CUDA(cudaMalloc(&data_, std::max<int64_t>(bytes, 64))); }
  ~Buffer() { cudaFree(data_); }
  Buffer(const Buffer&) = delete;
  template <typename T> T* as() const { return static_cast<T*>(data_); }
  void fill(int byte) { SHARDIT_CUDA(cudaMemset(data_, byte, bytes_)); }
  template <typename T> std::vector<T> get() const {
    std::vector<T> host(bytes_ / sizeof(T));
    SHARDIT_CUDA(cudaMemcpy(host.data(), data_, host.size() * sizeof(T), cudaMemcpyDeviceToHost));
    return host;
  }

 private:
  int64_t bytes_;
  void* data_ = nullptr;
};

// ---- inputs --------------------------------------------------------------------------------------------------------

__device__ uint32_t mixed(uint64_t x) {
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ x >> 27) * 0x94d049bb133111ebull;
  return static_cast<uint32_t>(x >> 32 ^ x);
}

template <typename T> __global__ void draw_normals(T* x, int64_t n, uint64_t seed, float deviation) {
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= n) return;
  const float u = (mixed(seed + 2 * i) + 1.0f) * 0x1p-32f, angle = mixed(seed + 2 * i + 1) * 0x1p-31f;
  x[i] = T(deviation * sqrtf(-2 * logf(u)) * cospif(angle));
}

// ---- reference: fp64, all heads of one image at a time, with p and dl in memory ------------------------------------

struct Problem {
  Sizes z;
  const void *qkv, *time, *bias, *dout;
};

struct Reference {
  double *p, *dl;  // (H, N, N) of one image
  double *out, *lse, *dqkv, *dtime, *dbias;
};

template <typename T> struct Image {
  Sizes z;
  int image, head;
  const Problem& problem;
  __device__ double qkv(int token, int third, int c) const {
    return static_cast<float>(static_cast<const T*>(
        problem.qkv)[((int64_t{image} * z.tokens + token) * 3 + third) * z.channels() + head * z.depth + c]);
  }
  __device__ double time(int third, int c) const {
    return static_cast<float>(
        static_cast<const T*>(problem.time)[(int64_t{image} * 3 + third) * z.channels() + head * z.depth + c]);
  }
  __device__ int64_t out_at(int token, int c) const {
    return (int64_t{image} * z.tokens + token) * z.channels() + head * z.depth + c;
  }
  __device__ double dout(int token, int c) const {
    return static_cast<float>(static_cast<const T*>(problem.dout)[out_at(token, c)]);
  }
  __device__ int64_t entry(int i, int j) const {
    const int w = z.window;
    return (int64_t{i / w - j / w + w - 1} * (2 * w - 1) + i % w - j % w + w - 1) * z.heads + head;
  }
};

__device__ double sum_of_block(double x) {
  SHARDIT_SHARED(double, shared, [128]);
  __syncthreads();
  shared[threadIdx.x] = x;
  __syncthreads();
  for (int apart = 64; apart > 0; apart /= 2) {
    if (threadIdx.x < apart) shared[threadIdx.x] += shared[threadIdx.x + apart];
    __syncthreads();
  }
  return shared[0];
}

// p and dl of one query; out, lse, dq.
template <typename T> __global__ void reference_rows(Problem problem, Reference r, int image) {
  const Sizes& z = problem.z;
  const int i = blockIdx.x, head = blockIdx.y, n = z.tokens;
  const Image<T> at{z, image, head, problem};
  double *p = r.p + (int64_t{head} * n + i) * n, *dl = r.dl + (int64_t{head} * n + i) * n;
  const double scale = 1 / sqrt(static_cast<double>(z.depth));
  double sum = 0, delta = 0;
  for (int j = threadIdx.x; j < n; j += 128) {  // logits of these inputs stay below 100: no maximum is needed
    double dot = 0, dp = 0;
    for (int c = 0; c < z.depth; ++c) dot += (at.qkv(i, 0, c) + at.time(0, c)) * at.qkv(j, 1, c);
    for (int c = 0; c < z.depth; ++c) dp += at.dout(i, c) * at.qkv(j, 2, c);
    const double bias = static_cast<float>(static_cast<const T*>(problem.bias)[at.entry(i, j)]);
    sum += p[j] = exp(dot * scale + bias);
    dl[j] = dp;
  }
  sum = sum_of_block(sum);
  for (int j = threadIdx.x; j < n; j += 128) delta += (p[j] /= sum) * dl[j];
  delta = sum_of_block(delta);
  for (int j = threadIdx.x; j < n; j += 128) dl[j] = p[j] * (dl[j] - delta);
  if (threadIdx.x == 0) r.lse[(int64_t{image} * z.heads + head) * n + i] = log(sum);
  __syncthreads();
  for (int c = threadIdx.x; c < z.depth; c += 128) {
    double out = 0, dq = 0;
    for (int j = 0; j < n; ++j) out += p[j] * at.qkv(j, 2, c), dq += dl[j] * at.qkv(j, 1, c);
    r.out[at.out_at(i, c)] = out + at.time(2, c);
    r.dqkv[(int64_t{image} * n + i) * 3 * z.channels() + head * z.depth + c] = dq * scale;
  }
}

// dk and dv of one key.
template <typename T> __global__ void reference_columns(Problem problem, Reference r, int image) {
  const Sizes& z = problem.z;
  const int j = blockIdx.x, head = blockIdx.y, n = z.tokens;
  const Image<T> at{z, image, head, problem};
  for (int c = threadIdx.x; c < z.depth; c += 128) {
    double dk = 0, dv = 0;
    for (int i = 0; i < n; ++i) {
      const int64_t pair = (int64_t{head} * n + i) * n + j;
      dk += r.dl[pair] * (at.qkv(i, 0, c) + at.time(0, c));
      dv += r.p[pair] * at.dout(i, c);
    }
    double* to = r.dqkv + (int64_t{image} * n + j) * 3 * z.channels() + head * z.depth + c;
    to[z.channels()] = dk / sqrt(static_cast<double>(z.depth));
    to[2 * z.channels()] = dv;
  }
}

template <typename T> __global__ void reference_time(Problem problem, Reference r, int image) {
  const Sizes& z = problem.z;
  const int head = blockIdx.x, n = z.tokens;
  const Image<T> at{z, image, head, problem};
  for (int c = threadIdx.x; c < z.depth; c += 128) {
    double query = 0, value = 0;
    for (int i = 0; i < n; ++i) {
      query += r.dqkv[(int64_t{image} * n + i) * 3 * z.channels() + head * z.depth + c];
      value += at.dout(i, c);
    }
    double* to = r.dtime + int64_t{image} * 3 * z.channels() + head * z.depth + c;
    to[0] = query, to[z.channels()] = 0, to[2 * z.channels()] = value;
  }
}

// Adds an image to dbias, one entry per block.
template <typename T> __global__ void reference_bias(Problem problem, Reference r, int image) {
  const Sizes& z = problem.z;
  const int w = z.window, n = z.tokens, head = blockIdx.y;
  const int row = blockIdx.x / (2 * w - 1) - (w - 1), column = blockIdx.x % (2 * w - 1) - (w - 1);
  double sum = 0;
  for (int j = threadIdx.x; j < n; j += 128) {
    const int i_row = j / w + row, i_column = j % w + column;
    if (i_row < 0 || i_row >= w || i_column < 0 || i_column >= w) continue;
    sum += r.dl[(int64_t{head} * n + i_row * w + i_column) * n + j];
  }
  sum = sum_of_block(sum);
  if (threadIdx.x == 0) r.dbias[int64_t{blockIdx.x} * z.heads + head] += sum;
}

template <typename T> void compute_reference(const Problem& problem, const Reference& r) {
  const Sizes& z = problem.z;
  for (int image = 0; image < z.images; ++image) {
    launch(reference_rows<T>, dim3(z.tokens, z.heads), dim3(128), 0, nullptr, problem, r, image);
    launch(reference_columns<T>, dim3(z.tokens, z.heads), dim3(128), 0, nullptr, problem, r, image);
    launch(reference_time<T>, dim3(z.heads), dim3(128), 0, nullptr, problem, r, image);
    launch(reference_bias<T>, dim3(z.table(), z.heads), dim3(128), 0, nullptr, problem, r, image);
  }
  SHARDIT_CUDA(cudaDeviceSynchronize());
}

// ---- one case ------------------------------------------------------------------------------------------------------

struct Error {
  double largest = 0, relative = 0;  // over the largest magnitude; root mean square over that of the reference
};

// Of the elements i with (i % period) / (period / parts) == part.
template <typename T>
Error error_of(const std::vector<T>& got, const std::vector<double>& expected, int64_t period, int parts, int part) {
  double difference = 0, magnitude = 0, squares = 0, of_squares = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    if (static_cast<int64_t>(i) % period / (period / parts) != part) continue;
    double d = std::fabs(static_cast<float>(got[i]) - expected[i]);
    if (!std::isfinite(d)) d = 1e30;
    difference = std::max(difference, d), magnitude = std::max(magnitude, std::fabs(expected[i]));
    squares += d * d, of_squares += expected[i] * expected[i];
  }
  if (magnitude < 1e-6) magnitude = of_squares = 1;  // a gradient that is zero
  return {difference / magnitude, std::sqrt(squares / of_squares)};
}

constexpr const char* kNames[] = {"out", "lse", "dq", "dk", "dv", "dq_t", "dk_t", "dv_t", "dbias"};
constexpr int kErrors = 9;

struct Times {
  double forward = 0, backward = 0, by_query = 0, by_key = 0, sums = 0;  // microseconds
};

struct Result {
  Sizes z;
  Way way;
  Error errors[kErrors];
  bool equal = true, near = true;
  Times us;
  std::vector<std::pair<std::string, double>> variants;
};

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

// Inputs, results and workspace of one shape in device memory.
template <typename T> struct Case {
  Sizes z;
  int64_t tokens, elements;  // B N, B N C
  Buffer qkv, time, bias, dout, out, lse, dqkv, dtime, dbias, workspace;

  Case(const Sizes& z, uint64_t seed, float bias_deviation)
      : z(z),
        tokens(int64_t{z.images} * z.tokens),
        elements(tokens * z.channels()),
        qkv(3 * elements * sizeof(T)),
        time(3 * z.images * z.channels() * sizeof(T)),
        bias(int64_t{z.table()} * z.heads * sizeof(T)),
        dout(elements * sizeof(T)),
        out(elements * sizeof(T)),
        lse(tokens * z.heads * sizeof(float)),
        dqkv(3 * elements * sizeof(T)),
        dtime(3 * z.images * z.channels() * sizeof(T)),
        dbias(int64_t{z.table()} * z.heads * sizeof(float)),
        workspace(Workspace(z, nullptr).bytes) {
    draw(qkv, 3 * elements, seed, 1);
    draw(time, 3 * z.images * z.channels(), seed + (1ull << 40), 0.7f);
    draw(bias, int64_t{z.table()} * z.heads, seed + (2ull << 40), bias_deviation);
    draw(dout, elements, seed + (3ull << 40), 1);
  }

  static void draw(const Buffer& buffer, int64_t n, uint64_t seed, float deviation) {
    launch(draw_normals<T>, dim3(static_cast<unsigned>((n + 255) / 256)), dim3(256), 0, nullptr, buffer.as<T>(), n,
           seed, deviation);
  }

  Forward forward() const { return {qkv.as<T>(), time.as<T>(), bias.as<T>(), out.as<T>(), lse.as<float>()}; }
  Backward backward() const {
    return {dout.as<T>(), qkv.as<T>(),  time.as<T>(),  bias.as<T>(),      lse.as<float>(),
            out.as<T>(),  dqkv.as<T>(), dtime.as<T>(), dbias.as<float>(), workspace.as<std::byte>()};
  }

  // Runs over results and workspace that hold nothing but `poison`; all results' bytes.
  std::vector<char> run(Way way, int poison) {
    for (Buffer* b : {&out, &lse, &dqkv, &dtime, &dbias, &workspace}) b->fill(poison);
    attention_device::forward(z, forward(), way, nullptr);
    attention_device::backward(z, backward(), way, nullptr);
    SHARDIT_CUDA(cudaDeviceSynchronize());
    std::vector<char> all;
    for (const Buffer* b : {&out, &lse, &dqkv, &dtime, &dbias}) {
      const std::vector<char> bytes = b->get<char>();
      all.insert(all.end(), bytes.begin(), bytes.end());
    }
    return all;
  }
};

// bf16: q + q_t, p, dl and the results are rounded, 1.1e-3 each in the root mean square, a few of them in a row, and an
// element by up to 4e-3; with large biases dl is a small difference. fp32: exponentials of logits of size 10, sums of a
// thousand terms.
bool near(DType type, const Error& e) {
  return type == DType::kBF16 ? e.relative < 1.5e-2 && e.largest < 3e-2 : e.relative < 1e-5 && e.largest < 3e-5;
}

template <typename T> void check(Case<T>& c, Result& result) {
  const Sizes& z = c.z;
  const int64_t pairs = int64_t{z.heads} * z.tokens * z.tokens;
  Buffer p(8 * pairs), dl(8 * pairs), out(8 * c.elements), lse(8 * c.tokens * z.heads), dqkv(24 * c.elements),
      dtime(24 * z.images * z.channels()), dbias(int64_t{8} * z.table() * z.heads);
  dbias.fill(0);
  compute_reference<T>(
      {z, c.qkv.template as<T>(), c.time.template as<T>(), c.bias.template as<T>(), c.dout.template as<T>()},
      {p.as<double>(), dl.as<double>(), out.as<double>(), lse.as<double>(), dqkv.as<double>(), dtime.as<double>(),
       dbias.as<double>()});
  Error* e = result.errors;
  *e++ = error_of(c.out.template get<T>(), out.get<double>(), 1, 1, 0);
  *e++ = error_of(c.lse.template get<float>(), lse.get<double>(), 1, 1, 0);
  const auto got = c.dqkv.template get<T>(), got_time = c.dtime.template get<T>();
  const auto expected = dqkv.get<double>(), expected_time = dtime.get<double>();
  for (int part = 0; part < 3; ++part) *e++ = error_of(got, expected, 3 * z.channels(), 3, part);
  for (int part = 0; part < 3; ++part) *e++ = error_of(got_time, expected_time, 3 * z.channels(), 3, part);
  *e++ = error_of(c.dbias.template get<float>(), dbias.get<double>(), 1, 1, 0);
  for (const Error& error : result.errors) result.near &= near(z.type, error);
}

// ---- times ---------------------------------------------------------------------------------------------------------

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
  result.us.sums = median_us([&] { sum_partials(z, b, nullptr); });
  if (result.way == Way::kWarpgroups) {
    result.us.by_query = median_us([&] { warpgroup_query_gradient(z, b, nullptr); });
    result.us.by_key = median_us([&] { warpgroup_key_gradient(z, b, nullptr); });
  } else {
    visit_tensor_shapes(z, [&]<int D, int W>() {
      result.us.by_query = median_us([&] { query_gradient_as<D, W, true, false>(z, b, nullptr); });
      result.us.by_key = median_us([&] { key_gradient_as<D, W>(z, b, nullptr); });
    });
    if (variants) time_variants(z, f, b, result);
  }
}

template <typename T> Result run_case(const Sizes& z, Way way, uint64_t seed, bool timed, bool variants) {
  Result result{z, way};
  Case<T> c(z, seed, timed ? 1 : 5);  // large biases, so that the running softmax must change its reference
  const std::vector<char> first = c.run(way, 0xff);
  result.equal = first == c.run(way, 0x5a);
  check(c, result);
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
  if (r.us.forward > 0)
    std::printf(
        "%-36s forward %.1f us %.0f TFLOP/s | backward %.1f us %.0f TFLOP/s (by query %.1f, by key %.1f, sums %.1f "
        "us)\n",
        "", r.us.forward, tflops(r.z, 4, r.us.forward), r.us.backward, tflops(r.z, 10, r.us.backward), r.us.by_query,
        r.us.by_key, r.us.sums);
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
  std::snprintf(
      piece, sizeof piece,
      "}, \"forward_us\": %.2f, \"backward_us\": %.2f, \"by_query_us\": %.2f, \"by_key_us\": %.2f, \"sums_us\": %.2f",
      r.us.forward, r.us.backward, r.us.by_query, r.us.by_key, r.us.sums);
  text += piece;
  text += ", \"variants_us\": {";
  for (size_t i = 0; i < r.variants.size(); ++i) {
    std::snprintf(piece, sizeof piece, "%s\"%s\": %.2f", i ? ", " : "", r.variants[i].first.c_str(),
                  r.variants[i].second);
    text += piece;
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

// One shape of attention in device memory: inputs, results, and how far the results are from fp64.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "tests/gpu/attention_reference.h"

namespace shardit {

using attention_device::Backward;
using attention_device::Forward;
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

struct Deviation {
  double largest = 0, relative = 0;  // over the largest magnitude; root mean square over that of the reference
};

// Of the elements i with (i % period) / (period / parts) == part.
template <typename T>
Deviation error_of(const std::vector<T>& got, const std::vector<double>& expected, int64_t period, int parts,
                   int part) {
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
bool near(DType type, const Deviation& e) {
  return type == DType::kBF16 ? e.relative < 1.5e-2 && e.largest < 3e-2 : e.relative < 1e-5 && e.largest < 3e-5;
}

// Of all results, in the order of kNames.
template <typename T> std::array<Deviation, kErrors> errors_of(const Case<T>& c) {
  const Sizes& z = c.z;
  const int64_t pairs = int64_t{z.heads} * z.tokens * z.tokens;
  Buffer p(8 * pairs), dl(8 * pairs), out(8 * c.elements), lse(8 * c.tokens * z.heads), dqkv(24 * c.elements),
      dtime(24 * z.images * z.channels()), dbias(int64_t{8} * z.table() * z.heads);
  dbias.fill(0);
  compute_reference<T>(
      {z, c.qkv.template as<T>(), c.time.template as<T>(), c.bias.template as<T>(), c.dout.template as<T>()},
      {p.as<double>(), dl.as<double>(), out.as<double>(), lse.as<double>(), dqkv.as<double>(), dtime.as<double>(),
       dbias.as<double>()});
  std::array<Deviation, kErrors> errors;
  Deviation* e = errors.data();
  *e++ = error_of(c.out.template get<T>(), out.get<double>(), 1, 1, 0);
  *e++ = error_of(c.lse.template get<float>(), lse.get<double>(), 1, 1, 0);
  const auto got = c.dqkv.template get<T>(), got_time = c.dtime.template get<T>();
  const auto expected = dqkv.get<double>(), expected_time = dtime.get<double>();
  for (int part = 0; part < 3; ++part) *e++ = error_of(got, expected, 3 * z.channels(), 3, part);
  for (int part = 0; part < 3; ++part) *e++ = error_of(got_time, expected_time, 3 * z.channels(), 3, part);
  *e++ = error_of(c.dbias.template get<float>(), dbias.get<double>(), 1, 1, 0);
  return errors;
}

}  // namespace shardit

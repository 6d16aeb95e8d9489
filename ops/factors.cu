// Linear combinations (factors.cc). Bound by bytes; bit-equal to the CPU. scale and mix run in packs; combine, once in
// a sampler's step, an element per thread.
#include "ops/device_map.h"

namespace shardit {
namespace {

struct Product {
  __device__ float operator()(float a, float x) const { return a * x; }
};

struct Mix {
  __device__ float operator()(float a, float x, float b, float y) const { return fmaf(a, x, b * y); }
};

// The terms of combine: tensors of any real type.
struct Terms {
  static constexpr int kMost = 16;
  const void* at[kMost];
  DType dtype[kMost];
  int count;
};

__device__ __forceinline__ double element(const void* p, DType dtype, int64_t i) {
  if (dtype == DType::kF64) return static_cast<const double*>(p)[i];
  if (dtype == DType::kF32) return static_cast<const float*>(p)[i];
  return static_cast<float>(static_cast<const BF16*>(p)[i]);
}

constexpr int kThreads = 256;

template <typename Y>
__global__ void __launch_bounds__(kThreads) combine_kernel(Terms terms, const double* factors, Y* y, int64_t n) {
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= n) return;
  double sum = factors[0] * element(terms.at[0], terms.dtype[0], i);
  for (int j = 1; j < terms.count; ++j) sum = fma(factors[j], element(terms.at[j], terms.dtype[j], i), sum);
  if constexpr (std::is_same_v<Y, double>)
    y[i] = sum;
  else
    y[i] = Y(static_cast<float>(sum));
}

}  // namespace

void scale_cuda(const KernelArgs& k, void* stream) {
  const Shape& shape = k.out[0].shape();
  const int64_t n = shape.numel();
  if (n == 0) return;
  device::visit(k.in[0].dtype(), k.in[1].dtype(), k.out[0].dtype(), [&]<typename A, typename X, typename Y>(A, X, Y) {
    device::visit_pack<X, Y>({n / shape[0]}, {k.in[1].data, k.out[0].data}, [&](auto v) {
      device::map<v>(stream, Product{}, k.out[0].as<Y>(), n,
                     device::PerImage<A>{k.in[0].as<A>(), device::packs_per_image(shape, v)},
                     device::Stream<X>{k.in[1].as<X>()});
    });
  });
}

void mix_cuda(const KernelArgs& k, void* stream) {
  const Shape& shape = k.out[0].shape();
  const int64_t n = shape.numel();
  if (n == 0) return;
  CHECK(k.in[0].dtype() == DType::kF32 && k.in[2].dtype() == DType::kF32) << "mix: factors are exact";
  device::visit(k.in[1].dtype(), k.in[3].dtype(), k.out[0].dtype(), [&]<typename X, typename Y, typename Z>(X, Y, Z) {
    device::visit_pack<X, Y, Z>({n / shape[0]}, {k.in[1].data, k.in[3].data, k.out[0].data}, [&](auto v) {
      const uint32_t packs = device::packs_per_image(shape, v);
      device::map<v>(stream, Mix{}, k.out[0].as<Z>(), n, device::PerImage<float>{k.in[0].as<float>(), packs},
                     device::Stream<X>{k.in[1].as<X>()}, device::PerImage<float>{k.in[2].as<float>(), packs},
                     device::Stream<Y>{k.in[3].as<Y>()});
    });
  });
}

void combine_cuda(const KernelArgs& k, void* stream) {
  const int64_t n = k.out[0].numel();
  Terms terms{.count = static_cast<int>(k.in.size()) - 1};
  CHECK_LE(terms.count, Terms::kMost) << "combine: terms of a device kernel";
  for (int j = 0; j < terms.count; ++j) {
    terms.at[j] = k.in[j].data;
    terms.dtype[j] = k.in[j].dtype();
  }
  const auto run = [&]<typename Y>(Y) {
    launch(combine_kernel<Y>, static_cast<unsigned>(device::blocks_for(n, kThreads)), kThreads, 0, stream, terms,
           k.in.back().as<double>(), k.out[0].as<Y>(), n);
  };
  if (k.out[0].dtype() == DType::kF64) return run(double{});
  device::visit(k.out[0].dtype(), run);
}

}  // namespace shardit

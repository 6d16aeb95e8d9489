// guide and learned_noise (guidance.cc): one element per thread. They run once in a sampler's step on an image's size
// of data, so packs are not worth it. guide has the CPU's bits; the noise has the GPU's fp64 exp.
#include "ops/guidance.h"

#include "ops/device.h"

namespace shardit {
namespace {

constexpr int kThreads = 256;

template <typename X, typename Y>
__global__ void __launch_bounds__(kThreads)
    guide_kernel(const X* conditional, const X* unconditional, const float* scale, Y* y, int64_t n, int64_t per_image,
                 int64_t width, int64_t guided) {
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= n) return;
  const float c = conditional[i], u = unconditional[i];
  y[i] = Y(i % width < guided ? fmaf(scale[i / per_image], c - u, u) : c);
}

template <typename V, typename Z, typename Y>
__global__ void __launch_bounds__(kThreads)
    learned_noise_kernel(const V* v, const Z* z, const double* bounds, Y* y, int64_t n) {
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= n) return;
  const double lower = bounds[0], range = bounds[1] - bounds[0];
  const double fraction = static_cast<double>(static_cast<float>(v[i])) + 1, noise = static_cast<float>(z[i]);
  y[i] = Y(static_cast<float>(bounds[2] != 0 ? exp(0.5 * (lower + 0.5 * fraction * range)) * noise : 0));
}

unsigned blocks(int64_t n) { return static_cast<unsigned>(device::blocks_for(n, kThreads)); }

}  // namespace

void guide_cuda(const KernelArgs& k, void* stream) {
  const Shape& shape = k.out[0].shape();
  const int64_t n = shape.numel();
  CHECK(k.in[1].dtype() == DType::kF32) << "guide: scales are exact";
  device::visit(k.in[0].dtype(), k.out[0].dtype(), [&]<typename X, typename Y>(X, Y) {
    const X* both = k.in[0].as<X>();
    launch(guide_kernel<X, Y>, blocks(n), kThreads, 0, stream, both, both + n, k.in[1].as<float>(), k.out[0].as<Y>(), n,
           n / shape[0], shape[-1], k.attr<GuideAttrs>().channels);
  });
}

void learned_noise_cuda(const KernelArgs& k, void* stream) {
  const int64_t n = k.out[0].numel();
  device::visit(k.in[0].dtype(), k.in[1].dtype(), k.out[0].dtype(), [&]<typename V, typename Z, typename Y>(V, Z, Y) {
    launch(learned_noise_kernel<V, Z, Y>, blocks(n), kThreads, 0, stream, k.in[0].as<V>(), k.in[1].as<Z>(),
           k.in[2].as<double>(), k.out[0].as<Y>(), n);
  });
}

}  // namespace shardit

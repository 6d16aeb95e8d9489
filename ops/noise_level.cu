// The numbers of a noise level (noise_level.cc): a few per image, a thread each, fp64 inside with the GPU's own exp and
// log. An index outside the table stops the kernel.
#include "ops/noise_level.h"

#include "ops/device.h"

namespace shardit {
namespace {

constexpr int kThreads = 128;

template <typename X, typename Y>
__global__ void __launch_bounds__(kThreads)
    lookup_kernel(const X* table, const int64_t* index, Y* y, int64_t rows, int64_t n) {
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= n) return;
  if (index[i] < 0 || index[i] >= rows) ptx::trap();
  y[i] = Y(static_cast<float>(table[index[i]]));
}

template <typename Y> struct Coefficients { Y* at[5]; };

template <typename X, typename Y>
__global__ void __launch_bounds__(kThreads) edm_kernel(const X* sigma, Coefficients<Y> out, int64_t n, double d) {
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= n) return;
  const double s = static_cast<float>(sigma[i]), total = s * s + d * d;
  const double c[] = {d * d / total, s * d / sqrt(total), 1 / sqrt(total), log(s) / 4, total / (s * d * s * d)};
  for (int j = 0; j < 5; ++j) out.at[j][i] = Y(static_cast<float>(c[j]));
}

template <typename X, typename Y>
__global__ void __launch_bounds__(kThreads)
    log_normal_kernel(const X* normal, Y* y, int64_t n, double mean, double deviation) {
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i < n) y[i] = Y(static_cast<float>(exp(mean + deviation * static_cast<float>(normal[i]))));
}

unsigned blocks(int64_t n) { return static_cast<unsigned>(device::blocks_for(n, kThreads)); }

}  // namespace

void lookup_cuda(const KernelArgs& k, void* stream) {
  const int64_t n = k.out[0].numel();
  device::visit(k.in[0].dtype(), k.out[0].dtype(), [&]<typename X, typename Y>(X, Y) {
    launch(lookup_kernel<X, Y>, blocks(n), kThreads, 0, stream, k.in[0].as<X>(), k.in[1].as<int64_t>(),
           k.out[0].as<Y>(), k.in[0].numel(), n);
  });
}

void edm_coefficients_cuda(const KernelArgs& k, void* stream) {
  const int64_t n = k.in[0].numel();
  device::visit(k.in[0].dtype(), k.out[0].dtype(), [&]<typename X, typename Y>(X, Y) {
    Coefficients<Y> out;
    for (int j = 0; j < 5; ++j) out.at[j] = k.out[j].as<Y>();
    launch(edm_kernel<X, Y>, blocks(n), kThreads, 0, stream, k.in[0].as<X>(), out, n, k.attr<NumbersAttrs>().a);
  });
}

void log_normal_cuda(const KernelArgs& k, void* stream) {
  const int64_t n = k.in[0].numel();
  const NumbersAttrs& a = k.attr<NumbersAttrs>();
  device::visit(k.in[0].dtype(), k.out[0].dtype(), [&]<typename X, typename Y>(X, Y) {
    launch(log_normal_kernel<X, Y>, blocks(n), kThreads, 0, stream, k.in[0].as<X>(), k.out[0].as<Y>(), n, a.a, a.b);
  });
}

}  // namespace shardit

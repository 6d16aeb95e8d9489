// Conversion of element types, rounded to nearest even. Bound by bytes; bit-equal to the CPU.
#include "ops/device_map.h"

namespace shardit {
namespace {

// From or to fp64, which sampler states have: one element per thread.
constexpr int kThreads = 256;
template <typename X, typename Y>
__global__ void __launch_bounds__(kThreads) convert_kernel(const X* x, Y* y, int64_t n) {
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= n) return;
  if constexpr (std::is_same_v<X, double> && std::is_same_v<Y, BF16>)
    y[i] = BF16(static_cast<float>(x[i]));
  else if constexpr (std::is_same_v<Y, double>)
    y[i] = static_cast<double>(static_cast<std::conditional_t<std::is_same_v<X, double>, double, float>>(x[i]));
  else
    y[i] = Y(x[i]);
}

template <typename X, typename Y> void convert(const KernelArgs& k, void* stream) {
  const int64_t n = k.out[0].numel();
  launch(convert_kernel<X, Y>, static_cast<unsigned>(device::blocks_for(n, kThreads)), kThreads, 0, stream,
         k.in[0].as<X>(), k.out[0].as<Y>(), n);
}

}  // namespace

void cast_cuda(const KernelArgs& k, void* stream) {
  const bool from_double = k.in[0].dtype() == DType::kF64, to_double = k.out[0].dtype() == DType::kF64;
  if (from_double && to_double) return convert<double, double>(k, stream);
  if (from_double) return device::visit(k.out[0].dtype(), [&]<typename Y>(Y) { convert<double, Y>(k, stream); });
  if (to_double) return device::visit(k.in[0].dtype(), [&]<typename X>(X) { convert<X, double>(k, stream); });
  device::map_elements(k, stream, device::Same{});
}

}  // namespace shardit

// GELU and its gradient (formulas in gelu.h). Bound by bytes: one exp2 and one reciprocal, whose last bits are not the
// CPU's.
#include "ops/device_map.h"
#include "ops/device_math.h"
#include "ops/gelu.h"

namespace shardit {
namespace {

constexpr float kScale = static_cast<float>(gelu_terms::kScale), kCubic = static_cast<float>(gelu_terms::kCubic);

__device__ __forceinline__ float half_of_tanh(float x) {  // 1/2 (1 + tanh u)
  return device::sigmoid(2 * kScale * (x + kCubic * x * x * x));
}

struct Gelu {
  __device__ float operator()(float x) const { return x * half_of_tanh(x); }
};

struct GeluGrad {
  __device__ float operator()(float x, float dy) const {
    const float s = half_of_tanh(x), du = kScale * fmaf(3 * kCubic * x, x, 1.0f);
    return dy * fmaf(2 * x * s * (1 - s), du, s);
  }
};

}  // namespace

void gelu_cuda(const KernelArgs& k, void* stream) { device::map_elements(k, stream, Gelu{}); }
void gelu_grad_cuda(const KernelArgs& k, void* stream) { device::map_elements2(k, stream, GeluGrad{}); }

}  // namespace shardit

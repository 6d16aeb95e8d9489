// GELU and its gradient (formulas in gelu.h). Bound by bytes. With the logistic function s,
//   1/2 (1 + tanh u) = s(2u):   y = x s(2u),   dy/dx = s + 2 x s (1 - s) du/dx
// which costs one exp2 and one reciprocal; their last bits are not the CPU's.
#include "ops/device_map.h"
#include "ops/device_math.h"

namespace shardit {
namespace {

constexpr float kScale = 0.7978845608028654f, kCubic = 0.044715f;  // u = kScale (x + kCubic x^3)

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

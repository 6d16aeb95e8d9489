// SiLU and its gradient (formulas in silu.cc). Bound by bytes; exp and the reciprocal differ from the CPU's in last
// bits.
#include "ops/device_map.h"
#include "ops/device_math.h"

namespace shardit {
namespace {

struct Silu {
  __device__ float operator()(float x) const { return x * device::sigmoid(x); }
};

struct SiluGrad {
  __device__ float operator()(float x, float dy) const {
    const float s = device::sigmoid(x);
    return dy * fmaf(x * s, 1 - s, s);
  }
};

}  // namespace

void silu_cuda(const KernelArgs& k, void* stream) { device::map_elements(k, stream, Silu{}); }
void silu_grad_cuda(const KernelArgs& k, void* stream) { device::map_elements2(k, stream, SiluGrad{}); }

}  // namespace shardit

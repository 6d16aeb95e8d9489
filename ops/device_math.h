// Elementary functions of device kernels, by the GPU's own approximations: relative error below 2^-21, fast enough for
// kernels that are bound by bytes.
#pragma once

#include "core/ptx.h"

namespace shardit::device {

__device__ __forceinline__ float exp(float x) { return ptx::exp2_approximate(x * 1.44269504088896341f); }
__device__ __forceinline__ float sigmoid(float x) { return ptx::reciprocal_approximate(1.0f + device::exp(-x)); }

}  // namespace shardit::device

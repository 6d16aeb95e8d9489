// The frequencies of timestep_embedding, the same on the CPU and the GPU.
#pragma once

#include <cmath>
#include <cstdint>

#include "core/host_device.h"

namespace shardit {

inline constexpr int64_t kFrequencies = 128;

// e^x in fp32 with the last bits of PyTorch on the CPU (the expf of the Sleef library, below 1 ulp): 2^k e^s, log 2 in
// two parts, a minimax polynomial in fused multiply-adds.
SHARDIT_HOST_DEVICE float exp_as_reference(float x) {
  const float k = nearbyintf(x * 1.44269504088896341f);
  float s = fmaf(k, -0.693145751953125f, x);
  s = fmaf(k, -1.428606765330187045e-06f, s);
  float p = 0.000198527617612853646f;
  p = fmaf(p, s, 0.00139304355252534151f);
  p = fmaf(p, s, 0.00833336077630519867f);
  p = fmaf(p, s, 0.0416664853692054749f);
  p = fmaf(p, s, 0.16666667163372040f);
  p = fmaf(p, s, 0.5f);
  return ldexpf(1.0f + fmaf(s * s, p, s), static_cast<int>(k));
}

// The released model's frequencies and angles to the last bit: both are rounded to fp32, and at t near 1000 one bit of
// a frequency is 6e-5 of an angle, which weights trained with it must see again.
SHARDIT_HOST_DEVICE float frequency(int64_t i) {
  constexpr double kLog10000 = 9.210340371976184;
  return exp_as_reference(static_cast<float>(-kLog10000) * static_cast<float>(i) / static_cast<float>(kFrequencies));
}

}  // namespace shardit

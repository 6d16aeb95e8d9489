// Elementary functions that the compiler can vectorise and that give the same bits everywhere: own polynomials in
// fused multiply-adds for fp32, the standard library for fp64 (which only the sweep uses).
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

#include "core/host_device.h"

namespace shardit {

// e^x = 2^k * e^r, |r| <= log(2)/2, e^r by its Taylor polynomial of degree 7 in Horner form. Error below 2 ulp; 0 below
// -87.3 (no subnormal results), infinity above 88.7, NaN for NaN.
SHARDIT_HOST_DEVICE float exp_of(float x) {
  const float above = x > -87.33f ? x : -87.33f;  // one machine maximum, then one minimum
  const float clamped = above < 88.72f ? above : 88.72f;
  const float k = nearbyintf(clamped * 1.44269504088896341f);
  float r = fmaf(k, -0.693359375f, clamped);  // log 2 in two parts
  r = fmaf(k, 2.12194440e-4f, r);
  float p = 1.0f / 5040;
  p = fmaf(p, r, 1.0f / 720);
  p = fmaf(p, r, 1.0f / 120);
  p = fmaf(p, r, 1.0f / 24);
  p = fmaf(p, r, 1.0f / 6);
  p = fmaf(p, r, 0.5f);
  p = fmaf(p, r, 1.0f);
  p = fmaf(p, r, 1.0f);
  const int32_t e = static_cast<int32_t>(k);  // 2^k in two factors, since k may be 128
  const int32_t half = e >> 1;
  const float scaled = p * std::bit_cast<float>((half + 127) << 23) * std::bit_cast<float>((e - half + 127) << 23);
  const float low = x < -87.33f ? 0.0f : scaled;
  const float high = x > 88.72f ? std::bit_cast<float>(0x7f800000) : low;
  return x == x ? high : x;
}
SHARDIT_HOST_DEVICE double exp_of(double x) { return exp(x); }

// log x of a normal x > 0: x = 2^k m, sqrt(1/2) <= m < sqrt(2), log m = 2 atanh s by its series, s = (m - 1) / (m + 1).
// Absolute error below 1e-7 near 1, relative error below 2 ulp elsewhere.
inline float log_of(float x) {
  const int32_t bits = std::bit_cast<int32_t>(x) - 0x3f3504f3;  // sqrt(1/2)
  const float k = static_cast<float>(bits >> 23);
  const float m = std::bit_cast<float>((bits & 0x7fffff) + 0x3f3504f3);
  const float s = (m - 1.0f) / (m + 1.0f), z = s * s;
  float p = 2.0f / 9;
  p = std::fma(p, z, 2.0f / 7);
  p = std::fma(p, z, 2.0f / 5);
  p = std::fma(p, z, 2.0f / 3);
  p = std::fma(p, z, 2.0f);
  return std::fma(k, 0.693359375f, std::fma(s, p, k * -2.12194440e-4f));  // log 2 in two parts
}
inline double log_of(double x) { return std::log(x); }

// 2^x of -126 <= x <= 126, to which other x are moved, NaN to -126. 2^r, |r| <= 1/2, by its Taylor polynomial of degree
// 7: half the work of exp_of. Error below 2 ulp.
inline float exp2_in_range(float x) {
  const float above = x > -126.0f ? x : -126.0f;
  const float clamped = above < 126.0f ? above : 126.0f;
  const float k = nearbyintf(clamped), r = clamped - k;
  float p = 1.5252734e-5f;  // log(2)^n / n!, n = 7 … 0
  p = fmaf(p, r, 1.5403530e-4f);
  p = fmaf(p, r, 1.3333558e-3f);
  p = fmaf(p, r, 9.6181291e-3f);
  p = fmaf(p, r, 5.5504109e-2f);
  p = fmaf(p, r, 2.4022651e-1f);
  p = fmaf(p, r, 6.9314718e-1f);
  p = fmaf(p, r, 1.0f);
  return std::bit_cast<float>(std::bit_cast<int32_t>(p) + (static_cast<int32_t>(k) << 23));
}
inline double exp2_in_range(double x) { return std::exp2(x); }

template <typename T> T sigmoid_of(T x) { return T(1) / (T(1) + exp_of(-x)); }

}  // namespace shardit

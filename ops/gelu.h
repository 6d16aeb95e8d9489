// GELU, tanh form (Hendrycks & Gimpel 2016):  y = x/2 * (1 + tanh(u)),  u = sqrt(2/pi) * (x + 0.044715 x^3)
// With e = exp(-2u) and the logistic function s = 1 / (1 + e), which is (1 + tanh u)/2 and keeps its digits where that
// is near 0:
//   y = x s,  dy/dx = s + 2 x s (1 - s) * du/dx,  1 - s = e s
// Shared by the plain op and the ops that fuse it with a product, so that both give the same bits; inlined,
// or loops of them are not vectorised.
#pragma once

#include <numbers>

#include "ops/math.h"

namespace shardit {

namespace gelu_terms {
constexpr double kScale = 0.7978845608028654, kCubic = 0.044715;  // u = kScale (x + kCubic x^3)

template <typename T> [[gnu::always_inline]] inline T exp_of_minus_2u(T x) {
  constexpr double kFirst = -2 * std::numbers::log2e * kScale;
  return exp2_in_range(x * std::fma(T(kFirst * kCubic), x * x, T(kFirst)));
}
}  // namespace gelu_terms

template <typename T> [[gnu::always_inline]] inline T gelu_of(T x) { return x / (T(1) + gelu_terms::exp_of_minus_2u(x)); }

template <typename T> [[gnu::always_inline]] inline T gelu_slope(T x) {
  using namespace gelu_terms;
  const T e = exp_of_minus_2u(x), s = T(1) / (T(1) + e);
  const T du = std::fma(T(3 * kScale * kCubic), x * x, T(kScale));
  return std::fma(T(2) * x * s * (e * s), du, s);
}

}  // namespace shardit

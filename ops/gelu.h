// GELU, tanh form (Hendrycks & Gimpel 2016):  y = x/2 * (1 + tanh(u)),  u = sqrt(2/pi) * (x + 0.044715 x^3)
//   dy/dx = (1 + tanh u)/2 + x/2 * (1 - tanh^2 u) * du/dx
// Shared by the plain op and the ops that fuse it with a product, so that both give the same bits.
#pragma once

#include "ops/math.h"

namespace shardit {

template <typename T> T gelu_inner(T x) { return T(0.7978845608028654) * (x + T(0.044715) * x * x * x); }

template <typename T> T gelu_of(T x) { return T(0.5) * x * (T(1) + tanh_of(gelu_inner(x))); }

template <typename T> T gelu_slope(T x) {
  const T t = tanh_of(gelu_inner(x));
  const T du = T(0.7978845608028654) * (T(1) + T(3 * 0.044715) * x * x);
  return T(0.5) * (T(1) + t) + T(0.5) * x * (T(1) - t * t) * du;
}

}  // namespace shardit

// Sums of squares as fixed-point numbers, exact in any order: three 64-bit limbs in units of 2^-96, 2^-48 and 1, and a
// flag (gradient_norm.cc says when it is raised). The same source serves the CPU and the GPU.
#pragma once

#include <cmath>
#include <cstdint>

#include "core/graph.h"
#include "core/host_device.h"
#include "ops/text.h"

namespace shardit {

inline constexpr int kLimbBits = 48;
inline constexpr double kLimb = 0x1p48, kTooLarge = 0x1p38;
inline constexpr int64_t kLimbs = 3, kFlag = 3;
inline constexpr int64_t kTileChunks = 64;  // whose squares one tile sums, into scratch of its own

struct Limbs {
  int64_t at[kLimbs + 1] = {};

  SHARDIT_HOST_DEVICE void carry() {
    for (int i = 0; i < 2; ++i) {
      at[i + 1] += at[i] >> kLimbBits;
      at[i] &= (int64_t{1} << kLimbBits) - 1;
    }
  }
  SHARDIT_HOST_DEVICE void add(const int64_t* other) {
    for (int i = 0; i <= kLimbs; ++i) at[i] += other[i];
    carry();
  }
  SHARDIT_HOST_DEVICE void add(double sum) {
    if (!(sum < kTooLarge)) {
      ++at[kFlag];
      return;
    }
    const double whole = floor(sum), middle = (sum - whole) * kLimb, middle_whole = floor(middle);
    at[2] += static_cast<int64_t>(whole);
    at[1] += static_cast<int64_t>(middle_whole);
    at[0] += static_cast<int64_t>(nearbyint((middle - middle_whole) * kLimb));
    carry();
  }
  SHARDIT_HOST_DEVICE bool finite() const { return at[kFlag] == 0; }
  SHARDIT_HOST_DEVICE double value() const {
    return static_cast<double>(at[2]) + (static_cast<double>(at[1]) + static_cast<double>(at[0]) / kLimb) / kLimb;
  }
};

struct GradientNormAttrs : Attrs {
  int64_t units = 1;  // whose limbs follow each other, once for each shard
  double clip = 0;
  std::string text() const override { return std::to_string(units) + " units, clip " + text_of(clip); }
};

}  // namespace shardit

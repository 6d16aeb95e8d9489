// What the tensor core kernels of attention share beyond a warp: block shape, pointers, the shapes they are made for.
#pragma once

#include <cmath>

#include "ops/attention_device.h"
#include "ops/attention_warp.h"

namespace shardit::attention_device {

inline constexpr int kThreads = 128, kWarps = kThreads / 32, kBlockRows = Workspace::kBlockRows;
static_assert(kBlockRows == kWarps * attention_warp::kRows);
inline constexpr size_t kSharedOfSm = 228 << 10, kSharedReserved = 1 << 10;  // sm_90; the latter in each block
inline constexpr float kLog2E = 1.44269504088896f;

// Sizes as a kernel takes them.
struct TensorSizes {
  int images, heads, channels;
  float scale, inverse_scale;  // 1 / sqrt(D), sqrt(D)
};
inline TensorSizes tensor_sizes(const Sizes& z) {
  const float root = std::sqrt(static_cast<float>(z.depth));
  return {z.images, z.heads, z.channels(), 1 / root, root};
}

// The rows of one head of one image in (B, N, 3C).
template <typename T> struct HeadRows {
  T *q, *k, *v;  // rows of D, `stride` apart
  int stride;
  __device__ HeadRows(const TensorSizes& z, T* qkv, int image, int head, int tokens, int depth)
      : q(qkv + int64_t{image} * tokens * 3 * z.channels + head * depth),
        k(q + z.channels),
        v(k + z.channels),
        stride(3 * z.channels) {}
};

// The backward pass by warpgroups, in this order.
void warpgroup_prepare(const Sizes& z, const Backward& a, void* stream);
void warpgroup_gradient(const Sizes& z, const Backward& a, void* stream);
void sum_bias_by_keys(const Sizes& z, const Backward& a, void* stream);

// Calls f.operator()<depth, window>(). REQUIRES: on_tensor_cores(z).
template <typename F> void visit_tensor_shapes(const Sizes& z, F&& f) {
  const auto visit_window = [&]<int D>() {
    z.window == 16 ? f.template operator()<D, 16>() : f.template operator()<D, 32>();
  };
  z.depth == 64 ? visit_window.template operator()<64>() : visit_window.template operator()<72>();
}

}  // namespace shardit::attention_device

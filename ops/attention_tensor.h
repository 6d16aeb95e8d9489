// What the tensor core kernels of attention share beyond a warp: block shape, pointers, the shapes they are made for.
#pragma once

#include <cmath>

#include "ops/attention_cuda.h"
#include "ops/attention_warp.h"

namespace shardit::attention_cuda {

inline constexpr int kThreads = 128, kWarps = kThreads / 32, kBlockRows = kWarps * attention_warp::kRows;
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

// The shapes with kernels of their own: calls f.operator()<depth, window>() and returns true, or returns false.
template <typename F> bool visit_tensor_shapes(const Sizes& z, F&& f) {
  if (z.type != DType::kBF16) return false;
  if (z.depth == 64 && z.window == 16) return f.template operator()<64, 16>(), true;
  if (z.depth == 72 && z.window == 16) return f.template operator()<72, 16>(), true;
  if (z.depth == 64 && z.window == 32) return f.template operator()<64, 32>(), true;
  if (z.depth == 72 && z.window == 32) return f.template operator()<72, 32>(), true;
  return false;
}

}  // namespace shardit::attention_cuda

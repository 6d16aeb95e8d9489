// Softmax along the keys while they pass by, of the rows of one warp in the forward pass of attention.
//
// It works on raw products q k^T that started from bias sqrt(D), so that exp(l - reference) is one fma and one exp2.
// `scale`: log2(e) / sqrt(D).
#pragma once

#include <cmath>

#include "ops/attention_warp.h"

namespace shardit::attention_warp {

// Of a thread's rows, [m][r] = row 16 m + 8 r + g.
template <int kBlocks> struct RunningSoftmax {
  float reference[kBlocks][2];  // a raw product that none exceeds by more than kSlack powers of 2
  float sum[kBlocks][2];        // of exp(l - reference), over this thread's columns

  __device__ void clear() {
    for (int m = 0; m < kBlocks; ++m)
      for (int r = 0; r < 2; ++r) reference[m][r] = -INFINITY, sum[m][r] = 0;
  }
};
inline constexpr float kSlack = 8;

// The row's new reference, the largest product so far if the old one is exceeded by too much; by what that scales all
// that was made of the old one.
template <int kTiles, int kBlocks>
__device__ float raise_reference(const Accumulators<kTiles, kBlocks>& s, int m, int r, float scale, float& reference) {
  float largest = s.c[m][0][2 * r];
  SHARDIT_UNROLL
  for (int n = 0; n < kTiles; ++n) largest = fmaxf(largest, fmaxf(s.c[m][n][2 * r], s.c[m][n][2 * r + 1]));
  largest = largest_of_quad(largest);
  const float before = reference;
  if ((largest - before) * scale > kSlack) reference = largest;
  return ptx::exp2_approximate((before - reference) * scale);
}

template <int kDepthTiles, int kBlocks>
__device__ void shrink(Accumulators<kDepthTiles, kBlocks>& out, RunningSoftmax<kBlocks>& softmax,
                       const float (&factor)[kBlocks][2]) {
  SHARDIT_UNROLL
  for (int m = 0; m < kBlocks; ++m) SHARDIT_UNROLL
  for (int r = 0; r < 2; ++r) {
    softmax.sum[m][r] *= factor[m][r];
    SHARDIT_UNROLL
    for (int d = 0; d < kDepthTiles; ++d) {
      out.c[m][d][2 * r] *= factor[m][r];
      out.c[m][d][2 * r + 1] *= factor[m][r];
    }
  }
}

// Turns products into exp(l - reference); scales out and sum where a reference rose, which is rare after the first
// tile.
template <int kTiles, int kDepthTiles, int kBlocks>
__device__ void exponentiate(Accumulators<kTiles, kBlocks>& s, RunningSoftmax<kBlocks>& softmax,
                             Accumulators<kDepthTiles, kBlocks>& out, float scale) {
  float factor[kBlocks][2];
  bool rose = false;
  SHARDIT_UNROLL
  for (int m = 0; m < kBlocks; ++m) SHARDIT_UNROLL
  for (int r = 0; r < 2; ++r) {
    factor[m][r] = raise_reference(s, m, r, scale, softmax.reference[m][r]);
    rose |= factor[m][r] != 1;
  }
  if (__any_sync(0xffffffffu, rose)) shrink(out, softmax, factor);
  SHARDIT_UNROLL
  for (int m = 0; m < kBlocks; ++m) SHARDIT_UNROLL
  for (int r = 0; r < 2; ++r) {
    const float shift = -softmax.reference[m][r] * scale;
    SHARDIT_UNROLL
    for (int n = 0; n < kTiles; ++n) SHARDIT_UNROLL
    for (int i = 2 * r; i < 2 * r + 2; ++i) {
      s.c[m][n][i] = ptx::exp2_approximate(fmaf(s.c[m][n][i], scale, shift));
      softmax.sum[m][r] += s.c[m][n][i];
    }
  }
}

// lse of the warp's rows, and what to divide its rows of out by.
template <int kBlocks>
__device__ void finish(const RunningSoftmax<kBlocks>& softmax, float scale, float* lse, float (&factor)[kBlocks][2],
                       int lane) {
  for (int m = 0; m < kBlocks; ++m)
    for (int r = 0; r < 2; ++r) {
      const float sum = sum_of_quad(softmax.sum[m][r]);
      factor[m][r] = 1.0f / sum;
      if (lane % 4 == 0) lse[16 * m + 8 * r + lane / 4] = fmaf(softmax.reference[m][r], scale, logf(sum));
    }
}

}  // namespace shardit::attention_warp

// What the kernels by queries of attention's backward pass sum beside their products, by warp.
#pragma once

#include "ops/attention_warp.h"

namespace shardit::attention_warp {

// delta of one row per lane: dout (out - v_t).
template <int D> __device__ float delta_of_row(const BF16* dout, const BF16* out, const BF16* value_time) {
  float sum = 0;
  for (int c = 0; c < D; c += 8) {
    const auto& x = *reinterpret_cast<const ptx::Chunk*>(dout + c);
    const auto& y = *reinterpret_cast<const ptx::Chunk*>(out + c);
    const auto& shift = *reinterpret_cast<const ptx::Chunk*>(value_time + c);
    for (int i = 0; i < 4; ++i) {
      sum = fmaf(ptx::low_of(x.words[i]), ptx::low_of(y.words[i]) - ptx::low_of(shift.words[i]), sum);
      sum = fmaf(ptx::high_of(x.words[i]), ptx::high_of(y.words[i]) - ptx::high_of(shift.words[i]), sum);
    }
  }
  return sum;
}

// to[c] = the sum of column c of the warp's 16 kBlocks rows: products with a matrix of ones.
template <int D, int kBlocks> __device__ void sum_columns(const BF16* rows, float* to, int lane) {
  constexpr uint32_t kOnes = 0x3f803f80;
  const uint32_t ones[4] = {kOnes, kOnes, kOnes, kOnes};
  for (int n = 0; n < D / 8; ++n) {
    uint32_t b[2 * kBlocks];
    ptx::load_matrices_transposed(b, rows + lane % (16 * kBlocks) * kStride<D> + 8 * n);
    float c[4] = {0, 0, 0, 0};
    for (int m = 0; m < kBlocks; ++m) ptx::multiply_add(c, ones, b[2 * m], b[2 * m + 1]);
    if (lane < 4) to[8 * n + 2 * lane] = c[0], to[8 * n + 2 * lane + 1] = c[1];
  }
}

// The same of fp32 numbers in registers.
template <int D, int kBlocks>
__device__ void sum_columns(const Accumulators<D / 8, kBlocks>& rows, float* to, int lane) {
  SHARDIT_UNROLL
  for (int n = 0; n < D / 8; ++n) SHARDIT_UNROLL
  for (int i = 0; i < 2; ++i) {
    float sum = 0;
    for (int m = 0; m < kBlocks; ++m) sum += rows.c[m][n][i] + rows.c[m][n][i + 2];
    for (int apart = 4; apart < 32; apart *= 2) sum += __shfl_xor_sync(0xffffffffu, sum, apart);
    if (lane < 4) to[8 * n + 2 * lane + i] = sum;
  }
}

}  // namespace shardit::attention_warp

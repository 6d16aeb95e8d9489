// What the kernels by queries of attention's backward pass sum beside their products, by warp.
#pragma once

#include "ops/attention_warp.h"

namespace shardit::attention_warp {

// delta = dout (out - v_t) of a warp's kCount rows. Eight lanes read a row, whole sectors at a time, and ask long
// before they use what they get: what is not hidden here is paid by each block.
template <int D, int kCount> class Deltas {
  static constexpr int kSteps = kCount / 4;  // of four rows; behind them the ninth chunk of a row of 72 (for_chunks)
  ptx::Chunk out_[kSteps + 1];
  ColumnChunks<D> value_time_;

  static __device__ const ptx::Chunk& chunk(const BF16* at) { return *reinterpret_cast<const ptx::Chunk*>(at); }

 public:
  // Begins to read rows of `out`, `stride` numbers apart, and v_t.
  __device__ Deltas(const BF16* out, int stride, const BF16* value_time, int lane) : value_time_(value_time, lane) {
    int i = 0;
    for_chunks<D, kCount, 32>(lane, [&](int row, int column) { out_[i++] = chunk(out + (row * stride + column)); });
  }

  // That of row lane % kCount. `dout`: rows of kStride<D> in shared memory.
  __device__ float of_lane(const BF16* dout, int lane) const {
    float parts[kSteps + 1] = {};
    int step = 0;
    for_chunks<D, kCount, 32>(lane, [&](int row, int column) {
      const ptx::Chunk &x = chunk(dout + row * kStride<D> + column), &y = out_[step], &shift = value_time_.at(column);
      float& sum = parts[step++];
      SHARDIT_UNROLL
      for (int k = 0; k < 4; ++k) {
        sum = fmaf(ptx::low_of(x.words[k]), ptx::low_of(y.words[k]) - ptx::low_of(shift.words[k]), sum);
        sum = fmaf(ptx::high_of(x.words[k]), ptx::high_of(y.words[k]) - ptx::high_of(shift.words[k]), sum);
      }
    });
    float delta = __shfl_sync(0xffffffffu, parts[kSteps], lane % kCount);
    SHARDIT_UNROLL
    for (int i = 0; i < kSteps; ++i) {
      float sum = parts[i];
      SHARDIT_UNROLL
      for (int apart = 1; apart < 8; apart *= 2) sum += __shfl_xor_sync(0xffffffffu, sum, apart);
      sum = __shfl_sync(0xffffffffu, sum, lane % 4 * 8);
      if (lane % kCount / 4 == i) delta += sum;
    }
    return delta;
  }
};

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

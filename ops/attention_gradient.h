// What the kernels of attention's backward pass sum beside their products, by warp.
#pragma once

#include "ops/attention_device.h"
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

// Of fp32 numbers in registers: calls f(column, sum) in one of the lanes.
template <int D, int kBlocks, typename F>
__device__ void for_column_sums(const Accumulators<D / 8, kBlocks>& rows, int lane, F&& f) {
  SHARDIT_UNROLL
  for (int n = 0; n < D / 8; ++n) SHARDIT_UNROLL
  for (int i = 0; i < 2; ++i) {
    float sum = 0;
    for (int m = 0; m < kBlocks; ++m) sum += rows.c[m][n][i] + rows.c[m][n][i + 2];
    for (int apart = 4; apart < 32; apart *= 2) sum += __shfl_xor_sync(0xffffffffu, sum, apart);
    if (lane < 4) f(8 * n + 2 * lane + i, sum);
  }
}
template <int D, int kBlocks>
__device__ void sum_columns(const Accumulators<D / 8, kBlocks>& rows, float* to, int lane) {
  for_column_sums<D>(rows, lane, [&](int column, float sum) { to[column] = sum; });
}
template <int D, int kBlocks>
__device__ void add_columns(const Accumulators<D / 8, kBlocks>& rows, float* to, int lane) {
  for_column_sums<D>(rows, lane, [&](int column, float sum) { to[column] += sum; });
}

// ---- dbias ---------------------------------------------------------------------------------------------------------
//
// Below, rows are queries and columns keys, or the other way round: a row's tokens lie in a warp's kRowsOfWarp image
// rows, and a column stands so many image rows and columns behind a row.

template <int W> inline constexpr int kRowsOfWarp = kRows / W;

// A warp's sums for dbias, by difference of image rows, from the least on, and of image columns.
template <int W> struct WarpTable {
  static constexpr int kWidth = 2 * W - 1, kCount = (W + kRowsOfWarp<W> - 1) * kWidth;
  float sums[kCount];

  __device__ void clear(int lane) {
    SHARDIT_KEEP_LOOP
    for (int i = lane; i < kCount; i += 32) sums[i] = 0;
  }
};

// Where a warp sums numbers along diagonals: for each difference of image rows 8 rows (of a unit of 8 rows) of 2 W + 8
// columns, which count from W below the row's unit: 8-token units side by side, an empty one at either end.
template <int W, int kTiles> struct DiagonalMemory {
  using Sums = Relative<W, kTiles>;
  static constexpr int kColumns = 2 * W + 8, kUnits = kColumns / 8, kRowCount = Sums::kRowCount;
  static_assert(kUnits == Sums::kUnitCount + 2);
  struct alignas(8) Pair {
    float first, second;
  };
  alignas(8) float numbers[kRowCount * 8 * kColumns];

  __device__ void clear(int lane) {
    SHARDIT_KEEP_LOOP
    for (int i = lane; i < kRowCount * 8 * kColumns; i += 32) numbers[i] = 0;
  }

  // Adds what `sums` has of the tile whose first column stands in image row `row`.
  __device__ void add_to(WarpTable<W>& table, int row, const Sums& sums, int lane) {
    constexpr int kWidth = WarpTable<W>::kWidth, kSteps = (kWidth + 31) / 32;
    float* const pairs = numbers + lane / 4 * kColumns + lane % 4 * 2;
    SHARDIT_UNROLL
    for (int y = 0; y < kRowCount; ++y) SHARDIT_UNROLL
    for (int u = 0; u < kUnits - 2; ++u)
      *reinterpret_cast<Pair*>(pairs + 8 * (y * kColumns + u + 1)) = {sums.of[y][u][0], sums.of[y][u][1]};
    __syncwarp();
    float along[kRowCount][kSteps];  // all before the first goes into the table, so that none waits for another
    SHARDIT_UNROLL
    for (int y = 0; y < kRowCount; ++y) SHARDIT_UNROLL
    for (int step = 0; step < kSteps; ++step) {
      const float* const diagonal = numbers + lane + 32 * step + 1;
      along[y][step] = 0;
      SHARDIT_UNROLL
      for (int i = 0; i < 8; ++i) along[y][step] += diagonal[(8 * y + i) * kColumns + i];
    }
    float* const to = table.sums + row * kWidth;
    SHARDIT_UNROLL
    for (int y = 0; y < kRowCount; ++y) SHARDIT_UNROLL
    for (int step = 0; step < kSteps; ++step) {
      const int d = lane + 32 * step;
      if (d < kWidth) to[y * kWidth + d] += along[y][step];
    }
    __syncwarp();
  }
};

// The sums of a block of four warps, whose first rows lie kRowsOfWarp apart.
template <int W, int kThreads>
__device__ void store_partial_bias(const WarpTable<W> (&tables)[4], float* to, int thread) {
  constexpr int kWidth = WarpTable<W>::kWidth;
  SHARDIT_KEEP_LOOP
  for (int i = thread; i < attention_device::Workspace::bias_rows(W) * kWidth; i += kThreads) {
    float sum = 0;
    SHARDIT_UNROLL
    for (int warp = 0; warp < 4; ++warp) {
      const int at = i - (3 - warp) * kRowsOfWarp<W> * kWidth;
      if (at >= 0 && at < WarpTable<W>::kCount) sum += tables[warp].sums[at];
    }
    to[i] = sum;
  }
}

}  // namespace shardit::attention_warp

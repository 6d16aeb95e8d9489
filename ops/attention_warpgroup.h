// What one warpgroup does in attention's Hopper kernels: products of 64 rows with tiles in shared memory.
//
// A tile stands in columns of 16-byte chunks: chunk c of row r at c kColumnBytes + 16 r. So eight rows of a chunk are
// one 8 x 8 matrix of core/ptx_warpgroup.h, whether the product runs along the tile's columns or along its rows, and
// addresses are linear in both. kColumnBytes is 16 more than the rows need: the chunks of a row meet different banks
// when it is written. Products along the columns take 16 of them: a depth of 72 is padded to a tenth chunk of zeros.
#pragma once

#include "core/ptx_warpgroup.h"
#include "ops/attention_warp.h"

namespace shardit::attention_warpgroup {

using attention_warp::Accumulators;

inline constexpr int kGroupThreads = 128, kGroupRows = 64, kWarpRows = 16;

template <int D, int kCount, bool kPadded = true> struct alignas(16) Tile {
  static constexpr int kChunks = kPadded ? (D + 15) / 16 * 2 : D / 8, kColumn = 8 * kCount + 8;
  static constexpr uint32_t kColumnBytes = kColumn * sizeof(BF16), kMatrixBytes = 128;
  BF16 numbers[kChunks * kColumn];

  __device__ BF16* at(int row, int column) { return numbers + column / 8 * kColumn + row * 8; }

  // Columns that the depth does not fill, once.
  template <int kThreads> __device__ void clear_rest(int thread) {
    static_assert(kPadded && kCount <= kThreads);
    if constexpr (D % 16 != 0) {
      if (thread < kCount) *reinterpret_cast<ptx::Chunk*>(at(thread, D)) = {};
    }
  }

  // Begins the copy of rows that are `stride` numbers apart in global memory.
  template <int kThreads> __device__ void copy(const BF16* from, int stride, int thread) {
    attention_warp::for_chunks<D, kCount, kThreads>(
        thread, [&](int row, int column) { ptx::copy_async(at(row, column), from + (row * stride + column)); });
  }
};

// 16 rows of D of each warp as left operands. They are read anew before each tile's products: held in registers over
// the loop they cost 20 of them, and ptxas 13.0 takes registers of A that two products of one shape read, as in a depth
// of 64, for dead after the first round (docs/attention.md).
template <int D> struct LeftRows {
  static constexpr int kSteps = (D + 15) / 16;
  uint32_t a[kSteps][4];

  // `rows`: 16 rows of kStride<D>.
  __device__ void load(const BF16* rows, int lane) {
    using attention_warp::kStride;
    SHARDIT_UNROLL
    for (int k = 0; k < D / 16; ++k) ptx::load_matrices(a[k], rows + lane % 16 * kStride<D> + 16 * k + lane / 16 * 8);
    if constexpr (D % 16 != 0) {
      uint32_t(&last)[4] = a[kSteps - 1];
      ptx::load_matrices(last, rows + lane % 16 * kStride<D> + D - 8);
      last[2] = last[3] = 0;
    }
  }
};

// Begins c += left tile^T.
template <int D, int kCount>
__device__ __forceinline__ void multiply_rows(Accumulators<kCount / 8, 1>& c, const LeftRows<D>& left,
                                              const Tile<D, kCount>& tile) {
  using T = Tile<D, kCount>;
  const auto right = ptx::right_operand<ptx::Stored::kColumns>(tile.numbers, T::kColumnBytes, T::kMatrixBytes);
  SHARDIT_UNROLL
  for (int k = 0; k < LeftRows<D>::kSteps; ++k)
    ptx::multiply_add_group<ptx::Stored::kColumns>(c.c[0], left.a[k], ptx::advance(right, 2 * k * T::kColumnBytes));
}

// A warp's 16 x 8 kTiles numbers, rounded, as left operands of products along the tiles.
template <int kTiles> struct LeftColumns {
  uint32_t a[kTiles / 2][4];

  __device__ __forceinline__ void round(const Accumulators<kTiles, 1>& c) {
    SHARDIT_UNROLL
    for (int k = 0; k < kTiles / 2; ++k) SHARDIT_UNROLL
    for (int i = 0; i < 4; ++i) {
      const float* pair = c.c[0][2 * k + i / 2] + i % 2 * 2;
      a[k][i] = ptx::pack_bf16(pair[0], pair[1]);
    }
  }
};

// Begins c += left tile.
template <int D, int kCount, bool kPadded>
__device__ __forceinline__ void multiply_columns(Accumulators<D / 8, 1>& c, const LeftColumns<kCount / 8>& left,
                                                 const Tile<D, kCount, kPadded>& tile) {
  using T = Tile<D, kCount, kPadded>;
  const auto right = ptx::right_operand<ptx::Stored::kRows>(tile.numbers, T::kMatrixBytes, T::kColumnBytes);
  SHARDIT_UNROLL
  for (int k = 0; k < kCount / 16; ++k)
    ptx::multiply_add_group<ptx::Stored::kRows>(c.c[0], left.a[k], ptx::advance(right, 2 * k * T::kMatrixBytes));
}

// Tiles that warps copy into `kStages` places together and read at different times. Each warp, in order: for every tile
// copied(), then for every tile wait_for(), its products, read().
template <int kStages, int kWarps> struct Handover {
  ptx::Barrier full[kStages], free[kStages];

  __device__ void begin() {  // by one thread, before a __syncthreads
    for (int i = 0; i < kStages; ++i) {
      ptx::begin_barrier(full[i], kWarps);
      ptx::begin_barrier(free[i], kWarps);
    }
  }

  // The warp's part of `tile` has arrived.
  __device__ void copied(int tile, int lane) {
    ptx::publish_to_products();
    __syncwarp();
    if (lane == 0) ptx::arrive(full[tile % kStages]);
  }
  __device__ void wait_for(int tile) { ptx::wait(full[tile % kStages], tile / kStages); }

  // The warp's products with `tile` are done.
  __device__ void read(int tile, int lane) {
    if (lane == 0) ptx::arrive(free[tile % kStages]);
  }
  // Until the place of `tile` is free of the tile before it.
  __device__ void wait_for_place(int tile) {
    if (tile >= kStages) ptx::wait(free[tile % kStages], tile / kStages - 1);
  }
};

}  // namespace shardit::attention_warpgroup

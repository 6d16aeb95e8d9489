// What one warpgroup does in attention's Hopper kernels: products of 64 rows with tiles in shared memory.
//
// A tile stands in columns of 16-byte chunks: chunk c of row r at c kColumnBytes + 16 r. So eight rows of a chunk are
// one 8 x 8 matrix of core/ptx_warpgroup.h, whether the product runs along the tile's columns or along its rows, and
// addresses are linear in both. Where threads write a tile by rows, a column has 16 bytes more than its rows need, so
// that the chunks of a row meet different banks. Products along the columns take 16 of them, an even number of chunks:
// those that the depth does not fill hold zeros, or numbers that a product adds besides (attention_backward_sm90.cu).
#pragma once

#include "core/ptx_warpgroup.h"
#include "ops/attention_warp.h"

namespace shardit::attention_warpgroup {

using attention_warp::Accumulators;

inline constexpr int kGroupThreads = 128, kGroupRows = 64, kWarpRows = 16;

template <int D> inline constexpr int kEvenChunks = (D + 15) / 16 * 2;

// kApart: numbers between two columns; none where the copy engine brings the tile.
template <int D, int kCountOfRows, int kChunkCount = kEvenChunks<D>, int kApart = 8> struct alignas(16) Tile {
  static constexpr int kDepth = D, kCount = kCountOfRows, kChunks = kChunkCount, kColumn = 8 * kCount + kApart;
  static constexpr uint32_t kColumnBytes = kColumn * sizeof(BF16), kMatrixBytes = 128;
  BF16 numbers[kChunks * kColumn];

  __device__ BF16* at(int row, int column) { return numbers + column / 8 * kColumn + row * 8 + column % 8; }

  // Writes a chunk of each row that the depth does not fill, once.
  template <int kThreads> __device__ void fill(int chunk, const ptx::Chunk& with, int thread) {
    static_assert(kCount <= kThreads);
    if (thread < kCount) *reinterpret_cast<ptx::Chunk*>(at(thread, 8 * chunk)) = with;
  }
  template <int kThreads> __device__ void clear_rest(int thread) {
    for (int chunk = D / 8; chunk < kChunks; ++chunk) fill<kThreads>(chunk, {}, thread);
  }

  // Begins the copy of kCount rows that are `stride` numbers apart in global memory.
  template <int kThreads> __device__ void copy(const BF16* from, int stride, int thread) {
    ptx::keep_here(stride);
    ptx::keep_here(thread);
    attention_warp::for_chunks<D, kCount, kThreads>(
        thread, [&](int row, int column) { ptx::copy_async(at(row, column), from + (row * stride + column)); });
  }
  // A warp's 16 rows from `first` on, to rows in global memory.
  __device__ void store(BF16* to, int stride, int first, int lane) {
    attention_warp::for_chunks<D, kWarpRows, 32>(lane, [&](int row, int column) {
      *reinterpret_cast<ptx::Chunk*>(to + (row * stride + column)) =
          *reinterpret_cast<const ptx::Chunk*>(at(first + row, column));
    });
  }
  // Adds a row of D to the chunks that this thread has copied.
  template <int kThreads> __device__ void add(const attention_warp::ColumnChunks<D>& shift, int thread) {
    attention_warp::for_chunks<D, kCount, kThreads>(thread, [&](int row, int column) {
      auto& x = *reinterpret_cast<ptx::Chunk*>(at(row, column));
      x = attention_warp::sum_of(x, shift.at(column));
    });
  }
};

// Begins c += left tile^T, 64 rows of `left` from `first` on.
template <typename L, typename T>
__device__ __forceinline__ void multiply_rows(Accumulators<T::kCount / 8, 1>& c, const L& left, int first,
                                              const T& tile) {
  using ptx::Stored;
  static_assert(L::kChunks == T::kChunks);
  const auto a = ptx::shared_operand(left.numbers + 8 * first, L::kColumnBytes, L::kMatrixBytes);
  const auto b = ptx::shared_operand(tile.numbers, T::kColumnBytes, T::kMatrixBytes);
  SHARDIT_UNROLL
  for (int k = 0; k < T::kChunks / 2; ++k)
    ptx::multiply_add_group<Stored::kRows, Stored::kColumns>(c.c[0], ptx::advance(a, 2 * k * L::kColumnBytes),
                                                             ptx::advance(b, 2 * k * T::kColumnBytes));
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
template <typename T>
__device__ __forceinline__ void multiply_columns(Accumulators<T::kDepth / 8, 1>& c,
                                                 const LeftColumns<T::kCount / 8>& left, const T& tile) {
  const auto right = ptx::shared_operand(tile.numbers, T::kMatrixBytes, T::kColumnBytes);
  SHARDIT_UNROLL
  for (int k = 0; k < T::kCount / 16; ++k)
    ptx::multiply_add_group<ptx::Stored::kRows>(c.c[0], left.a[k], ptx::advance(right, 2 * k * T::kMatrixBytes));
}

// Numbers that warps round in 16 rows each, to be left operands as columns: 8 x 8 matrices, those of a row of matrices
// side by side.
template <int kCount, int kColumns> struct alignas(16) RoundedTile {
  static constexpr uint32_t kMatrixBytes = 128, kRowBytes = kColumns / 8 * kMatrixBytes;  // of a row of matrices
  uint32_t pairs[kCount / 8][kColumns / 8][32];  // by lane, as a warp holds them

  // The warp's 16 rows from `first` on.
  __device__ __forceinline__ void store(const LeftColumns<kColumns / 8>& from, int first, int lane) {
    auto& row = pairs[first / 8 + lane / 8 % 2];
    SHARDIT_UNROLL
    for (int k = 0; k < kColumns / 16; ++k) ptx::store_matrices(from.a[k], &row[2 * k + lane / 16][lane % 8 * 4]);
  }
  // Four matrices of a row, as a warp holds them.
  __device__ __forceinline__ void load(uint32_t (&four)[4], int row, int first, int lane) const {
    ptx::load_matrices(four, &pairs[row][first + lane / 8][lane % 8 * 4]);
  }
};

// Begins c += left^T tile, 64 columns of `left`.
template <typename T>
__device__ __forceinline__ void multiply_columns(Accumulators<T::kDepth / 8, 1>& c,
                                                 const RoundedTile<T::kCount, 64>& left, const T& tile) {
  using ptx::Stored;
  using L = RoundedTile<T::kCount, 64>;
  const auto a = ptx::shared_operand(left.pairs, L::kRowBytes, L::kMatrixBytes);
  const auto b = ptx::shared_operand(tile.numbers, T::kMatrixBytes, T::kColumnBytes);
  SHARDIT_UNROLL
  for (int k = 0; k < T::kCount / 16; ++k)
    ptx::multiply_add_group<Stored::kColumns, Stored::kRows>(c.c[0], ptx::advance(a, 2 * k * L::kRowBytes),
                                                             ptx::advance(b, 2 * k * T::kMatrixBytes));
}

// Places in shared memory that kWriters warps fill together, again and again, and kReaders warps read at different
// times. For each filling, counted from 0, a writer: wait_for_place(), writes, written(); a reader: wait_for(), reads,
// read().
template <int kPlaces, int kWriters, int kReaders> struct Handover {
  ptx::Barrier full[kPlaces], free[kPlaces];

  __device__ void begin() {  // by one thread, before a __syncthreads
    for (int i = 0; i < kPlaces; ++i) {
      ptx::begin_barrier(full[i], kWriters);
      ptx::begin_barrier(free[i], kReaders);
    }
  }

  // Until the place is free of what it held before.
  __device__ void wait_for_place(int filling) {
    if (filling >= kPlaces) ptx::wait(free[filling % kPlaces], filling / kPlaces - 1);
  }
  // In place of written(), where one thread fills the place by copy_bulk: the barrier at which that many bytes arrive.
  __device__ ptx::Barrier& expect(int filling, uint32_t bytes) {
    ptx::Barrier& barrier = full[filling % kPlaces];
    ptx::arrive_expecting(barrier, bytes);
    return barrier;
  }
  // The warp's part is there, for products too.
  __device__ void written(int filling, int lane) {
    ptx::publish_to_products();
    __syncwarp();
    if (lane == 0) ptx::arrive(full[filling % kPlaces]);
  }
  __device__ void wait_for(int filling) { ptx::wait(full[filling % kPlaces], filling / kPlaces); }
  // The warp's reads of it and products with it are done.
  __device__ void read(int filling, int lane) {
    __syncwarp();
    if (lane == 0) ptx::arrive(free[filling % kPlaces]);
  }
};

}  // namespace shardit::attention_warpgroup

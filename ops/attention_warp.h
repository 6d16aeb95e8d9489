// What one warp does in attention's tensor core kernels: products of 32 rows, and the relative position bias of a tile.
//
// Tiles lie in shared memory in rows of kStride<D> bf16: an odd number of 16-byte chunks, so that the eight rows that
// an ldmatrix reads at a time meet eight different groups of banks. Depths are multiples of 8; a depth of 72 is four
// steps of 16 and one of 8, so nothing is padded.
//
// Letters: g = lane / 4, t = lane % 4. A warp's 32 x 8 n numbers are Accumulators<n>: c[m][n][...] holds rows
// 16 m + g and 16 m + g + 8, columns 8 n + 2 t and the next (core/ptx_matrix.h). A warp of a warpgroup has 16 rows: one
// block of them, m = 0 (attention_warpgroup.h).
#pragma once

#include "core/ptx_matrix.h"

namespace shardit::attention_warp {

template <int D> inline constexpr int kStride = D / 8 % 2 ? D : D + 8;
inline constexpr int kRows = 32;  // of a warp

template <int kTiles, int kBlocks = 2> struct Accumulators {
  float c[kBlocks][kTiles][4];
  __device__ void clear() {
    for (auto& row : c)
      for (auto& tile : row)
        for (float& x : tile) x = 0;
  }
};

// 32 rows of D in shared memory as left operands: 16 columns at a time, and the last 8 where 16 does not divide D.
template <int D> __device__ void load_left(uint32_t (&a)[2][4], const BF16* rows, int k, int lane) {
  SHARDIT_UNROLL
  for (int m = 0; m < 2; ++m)
    ptx::load_matrices(a[m], rows + (16 * m + lane % 16) * kStride<D> + 16 * k + lane / 16 * 8);
}
template <int D> __device__ void load_left_rest(uint32_t (&a)[2][2], const BF16* rows, int lane) {
  uint32_t r[4];
  ptx::load_matrices(r, rows + lane * kStride<D> + D - 8);
  a[0][0] = r[0], a[0][1] = r[1], a[1][0] = r[2], a[1][1] = r[3];
}

// The same, either read anew by each product or held in registers.
template <int D, bool kHeld> struct LeftOperand {
  const BF16* rows;
  __device__ LeftOperand(const BF16* rows, int) : rows(rows) {}
  __device__ void get(uint32_t (&a)[2][4], int k, int lane) const { load_left<D>(a, rows, k, lane); }
  __device__ void get_rest(uint32_t (&a)[2][2], int lane) const { load_left_rest<D>(a, rows, lane); }
};
template <int D> struct LeftOperand<D, true> {
  uint32_t whole[D / 16][2][4], rest[2][2];
  __device__ LeftOperand(const BF16* rows, int lane) {
    SHARDIT_UNROLL
    for (int k = 0; k < D / 16; ++k) load_left<D>(whole[k], rows, k, lane);
    if constexpr (D % 16 != 0) load_left_rest<D>(rest, rows, lane);
  }
  __device__ void get(uint32_t (&a)[2][4], int k, int) const {
    SHARDIT_UNROLL
    for (int i = 0; i < 8; ++i) a[i / 4][i % 4] = whole[k][i / 4][i % 4];
  }
  __device__ void get_rest(uint32_t (&a)[2][2], int) const {
    SHARDIT_UNROLL
    for (int i = 0; i < 4; ++i) a[i / 2][i % 2] = rest[i / 2][i % 2];
  }
};

// c += left right^T for 16 columns of both, beginning at 16 k. `right`: 8 kTiles rows of D.
template <int D, int kTiles>
__device__ void multiply_step(Accumulators<kTiles>& c, const uint32_t (&left)[2][4], const BF16* right, int k,
                              int lane) {
  SHARDIT_UNROLL
  for (int n = 0; n < kTiles; n += 2) {
    uint32_t b[4];
    ptx::load_matrices(b, right + (8 * n + lane / 16 * 8 + lane % 8) * kStride<D> + 16 * k + lane / 8 % 2 * 8);
    SHARDIT_UNROLL
    for (int m = 0; m < 2; ++m) {
      ptx::multiply_add(c.c[m][n], left[m], b[0], b[1]);
      ptx::multiply_add(c.c[m][n + 1], left[m], b[2], b[3]);
    }
  }
}

// The last 8 columns of depths that 16 does not divide.
template <int D, int kTiles>
__device__ void multiply_rest(Accumulators<kTiles>& c, const uint32_t (&left)[2][2], const BF16* right, int lane) {
  static_assert(kTiles % 4 == 0);
  SHARDIT_UNROLL
  for (int n = 0; n < kTiles; n += 4) {
    uint32_t b[4];
    ptx::load_matrices(b, right + (8 * n + lane) * kStride<D> + D - 8);
    SHARDIT_UNROLL
    for (int i = 0; i < 4; ++i) SHARDIT_UNROLL
    for (int m = 0; m < 2; ++m) ptx::multiply_add_8(c.c[m][n + i], left[m], b[i]);
  }
}

// c += left right^T: 32 rows of D by 8 kTiles rows of D.
template <int D, bool kHeld, int kTiles>
__device__ void multiply_rows(Accumulators<kTiles>& c, const LeftOperand<D, kHeld>& left, const BF16* right, int lane) {
  SHARDIT_UNROLL
  for (int k = 0; k < D / 16; ++k) {
    uint32_t a[2][4];
    left.get(a, k, lane);
    multiply_step<D>(c, a, right, k, lane);
  }
  if constexpr (D % 16 != 0) {
    uint32_t a[2][2];
    left.get_rest(a, lane);
    multiply_rest<D>(c, a, right, lane);
  }
}

// c += left right for 16 columns of `left`, its tiles n and n + 1, rounded to bf16. `right`: the 16 rows of D that
// stand against those columns.
template <int D, int kTiles>
__device__ void multiply_columns(Accumulators<D / 8>& c, const Accumulators<kTiles>& left, int n, const BF16* right,
                                 int lane) {
  uint32_t a[2][4];
  SHARDIT_UNROLL
  for (int m = 0; m < 2; ++m) SHARDIT_UNROLL
  for (int i = 0; i < 4; ++i) {
    const float* pair = left.c[m][n + i / 2] + i % 2 * 2;
    a[m][i] = ptx::pack_bf16(pair[0], pair[1]);
  }
  const BF16* row = right + lane % 16 * kStride<D>;
  SHARDIT_UNROLL
  for (int d = 0; d + 1 < D / 8; d += 2) {
    uint32_t b[4];
    ptx::load_matrices_transposed(b, row + 8 * d + lane / 16 * 8);
    SHARDIT_UNROLL
    for (int m = 0; m < 2; ++m) {
      ptx::multiply_add(c.c[m][d], a[m], b[0], b[1]);
      ptx::multiply_add(c.c[m][d + 1], a[m], b[2], b[3]);
    }
  }
  if constexpr (D / 8 % 2 != 0) {
    uint32_t b[2];
    ptx::load_matrices_transposed(b, row + D - 8);
    SHARDIT_UNROLL
    for (int m = 0; m < 2; ++m) ptx::multiply_add(c.c[m][D / 8 - 1], a[m], b[0], b[1]);
  }
}

// c += left right: all columns of `left`.
template <int D, int kTiles>
__device__ void multiply_columns(Accumulators<D / 8>& c, const Accumulators<kTiles>& left, const BF16* right,
                                 int lane) {
  SHARDIT_UNROLL
  for (int n = 0; n < kTiles; n += 2) multiply_columns<D>(c, left, n, right + 8 * n * kStride<D>, lane);
}

// The bias of a warp's tile depends on the differences of rows and columns of the image only. In units of 8 tokens, of
// which an image row has kUnits, unit a of the tile's row units and unit n of its column units are n / kUnits -
// a / kUnits image rows and n % kUnits - a % kUnits units apart; so a thread's 2 numbers of (a, n) are those of the
// pair (image rows, units), and 32 x 32 tokens of a 32-token window need 14 numbers, not 32.
template <int W, int kTiles, int kBlocks = 2> struct Relative {
  static_assert(W == 16 || W == 32);
  static constexpr int kUnits = W / 8;
  static constexpr int kUnitsBefore = (2 * kBlocks < kUnits ? 2 * kBlocks : kUnits) - 1;  // of a row unit in its row
  static constexpr int kTileRows = (2 * kBlocks + kUnits - 1) / kUnits;  // image rows of the warp's rows
  static constexpr int kFirstRow = 1 - kTileRows;                        // least difference of image rows
  static constexpr int kRowCount = kTileRows - 1 + kTiles / kUnits;      // differences of image rows
  static constexpr int kUnitCount = kUnits + kUnitsBefore;

  float of[kRowCount][kUnitCount][2];

  __device__ static constexpr int row(int a, int n) { return n / kUnits - a / kUnits - kFirstRow; }
  __device__ static constexpr int unit(int a, int n) { return n % kUnits - a % kUnits + kUnitsBefore; }

  // Numbers of `table`, (2 W - 1)^2 of one head, last entry first: ascending with the key. kSide: 1 where the tile's
  // rows are queries, -1 where they are keys. `centre`: the entry of the tile's first query and first key.
  template <int kSide> __device__ void load(const float* table, int centre, int lane) {
    const float* mine = table + centre + kSide * (2 * (lane % 4) - lane / 4);
    SHARDIT_UNROLL
    for (int y = 0; y < kRowCount; ++y) SHARDIT_UNROLL
    for (int u = 0; u < kUnitCount; ++u) SHARDIT_UNROLL
    for (int i = 0; i < 2; ++i)
      of[y][u][i] = mine[kSide * ((y + kFirstRow) * (2 * W - 1) + 8 * (u - kUnitsBefore) + i)];
  }

  // A tile's numbers, each at its place.
  __device__ void spread(Accumulators<kTiles, kBlocks>& c) const {
    SHARDIT_UNROLL
    for (int m = 0; m < kBlocks; ++m) SHARDIT_UNROLL
    for (int n = 0; n < kTiles; ++n) SHARDIT_UNROLL
    for (int i = 0; i < 4; ++i) {
      const int a = 2 * m + i / 2;
      c.c[m][n][i] = of[row(a, n)][unit(a, n)][i % 2];
    }
  }

  // The reverse: sums of a tile's numbers by difference.
  __device__ void gather(const Accumulators<kTiles, kBlocks>& c) {
    SHARDIT_UNROLL
    for (auto& y : of) SHARDIT_UNROLL
    for (auto& u : y) u[0] = u[1] = 0;
    SHARDIT_UNROLL
    for (int m = 0; m < kBlocks; ++m) SHARDIT_UNROLL
    for (int n = 0; n < kTiles; ++n) SHARDIT_UNROLL
    for (int i = 0; i < 4; ++i) {
      const int a = 2 * m + i / 2;
      of[row(a, n)][unit(a, n)][i % 2] += c.c[m][n][i];
    }
  }
  // The same of rounded numbers: load(pairs, a, n) gets the thread's two of row unit a and column unit n, and of the
  // next three.
  template <typename F> __device__ void gather_pairs(F&& load) {
    static_assert(kTiles % 4 == 0);
    SHARDIT_UNROLL
    for (auto& y : of) SHARDIT_UNROLL
    for (auto& u : y) u[0] = u[1] = 0;
    SHARDIT_UNROLL
    for (int a = 0; a < 2 * kBlocks; ++a) SHARDIT_UNROLL
    for (int n = 0; n < kTiles; n += 4) {
      uint32_t pairs[4];
      load(pairs, a, n);
      SHARDIT_UNROLL
      for (int i = 0; i < 4; ++i) {
        of[row(a, n + i)][unit(a, n + i)][0] += ptx::low_of(pairs[i]);
        of[row(a, n + i)][unit(a, n + i)][1] += ptx::high_of(pairs[i]);
      }
    }
  }
};

// The entry of query i and key j in a table that stands last entry first.
template <int W> __device__ constexpr int table_entry(int query, int key) {
  return (W - 1 - query / W + key / W) * (2 * W - 1) + W - 1 - query % W + key % W;
}

// The sum over the four lanes that share rows.
__device__ inline float sum_of_quad(float x) {
  x += __shfl_xor_sync(0xffffffffu, x, 1);
  return x + __shfl_xor_sync(0xffffffffu, x, 2);
}
__device__ inline float largest_of_quad(float x) {
  x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, 1));
  return fmaxf(x, __shfl_xor_sync(0xffffffffu, x, 2));
}

// ---- rows between global and shared memory, by kThreads threads together -------------------------------------------

// Calls f(row, column) for each chunk of 8 columns of kCount rows of D: eight threads take 64 columns of a row, a
// thread of its own each the 8 that a depth of 72 has more. A thread's chunks are the same in every function of this
// section.
template <int D, int kCount, int kThreads, typename F> __device__ void for_chunks(int thread, F&& f) {
  static_assert((D == 64 || D == 72) && kCount % (kThreads / 8) == 0);
  SHARDIT_UNROLL
  for (int row = 0; row < kCount; row += kThreads / 8) f(row + thread / 8, thread % 8 * 8);
  if constexpr (D == 72) {
    SHARDIT_UNROLL
    for (int row = 0; row < kCount; row += kThreads)
      if (row + thread < kCount) f(row + thread, 64);
  }
}

// Begins the copy of rows that are `stride` numbers apart in global memory.
template <int D, int kCount, int kThreads>
__device__ void copy_rows(BF16* to, const BF16* from, int stride, int thread) {
  for_chunks<D, kCount, kThreads>(thread, [&](int row, int column) {
    ptx::copy_async(to + row * kStride<D> + column, from + (row * stride + column));
  });
}

template <int D, int kCount, int kThreads>
__device__ void store_rows(BF16* to, int stride, const BF16* from, int thread) {
  for_chunks<D, kCount, kThreads>(thread, [&](int row, int column) {
    *reinterpret_cast<ptx::Chunk*>(to + (row * stride + column)) =
        *reinterpret_cast<const ptx::Chunk*>(from + row * kStride<D> + column);
  });
}

// Of one row of D in global memory, what stands in the columns of this thread's chunks. To be read before what must not
// wait for it.
template <int D> struct ColumnChunks {
  ptx::Chunk of[2];
  __device__ ColumnChunks(const BF16* row, int thread) {
    of[0] = *reinterpret_cast<const ptx::Chunk*>(row + thread % 8 * 8);
    if constexpr (D == 72) of[1] = *reinterpret_cast<const ptx::Chunk*>(row + 64);
  }
  __device__ const ptx::Chunk& at(int column) const { return of[column / 64]; }
};

// Numbers of two chunks added, and rounded.
__device__ inline ptx::Chunk sum_of(const ptx::Chunk& x, const ptx::Chunk& y) {
  ptx::Chunk sum;
  SHARDIT_UNROLL
  for (int k = 0; k < 4; ++k)
    sum.words[k] = ptx::pack_bf16(ptx::low_of(x.words[k]) + ptx::low_of(y.words[k]),
                                  ptx::high_of(x.words[k]) + ptx::high_of(y.words[k]));
  return sum;
}

// Adds a row of D to the chunks that this thread has copied.
template <int D, int kCount, int kThreads>
__device__ void add_to_rows(BF16* rows, const ColumnChunks<D>& shift, int thread) {
  for_chunks<D, kCount, kThreads>(thread, [&](int row, int column) {
    auto& x = *reinterpret_cast<ptx::Chunk*>(rows + row * kStride<D> + column);
    x = sum_of(x, shift.at(column));
  });
}

// A warp's numbers of rows 16 m + g and 16 m + g + 8 times factor[m][...], plus `shift` (a row of D, or null), rounded,
// to 16 kBlocks rows of shared memory.
template <int D, int kBlocks>
__device__ void round_rows(BF16* to, const Accumulators<D / 8, kBlocks>& c, const float (&factor)[kBlocks][2],
                           const BF16* shift, int lane) {
  SHARDIT_UNROLL
  for (int n = 0; n < D / 8; ++n) {
    const int column = 8 * n + lane % 4 * 2;
    const float low = shift ? static_cast<float>(shift[column]) : 0,
                high = shift ? static_cast<float>(shift[column + 1]) : 0;
    SHARDIT_UNROLL
    for (int m = 0; m < kBlocks; ++m) SHARDIT_UNROLL
    for (int r = 0; r < 2; ++r) {
      const float* pair = c.c[m][n] + 2 * r;
      *reinterpret_cast<uint32_t*>(to + (16 * m + 8 * r + lane / 4) * kStride<D> + column) =
          ptx::pack_bf16(fmaf(pair[0], factor[m][r], low), fmaf(pair[1], factor[m][r], high));
    }
  }
}

// Calls f(row, column, pair) for the numbers of a warp's 16 rows times factor[…] (of rows g and g + 8), plus `shift` (a
// row of D, or null), rounded.
template <int D, typename F>
__device__ void round_pairs(const Accumulators<D / 8, 1>& c, const float (&factor)[2], const BF16* shift, int lane,
                            F&& f) {
  SHARDIT_UNROLL
  for (int n = 0; n < D / 8; ++n) {
    const int column = 8 * n + lane % 4 * 2;
    const uint32_t shifts = shift ? *reinterpret_cast<const uint32_t*>(shift + column) : 0;
    SHARDIT_UNROLL
    for (int r = 0; r < 2; ++r) {
      const float* pair = c.c[0][n] + 2 * r;
      f(8 * r + lane / 4, column,
        ptx::pack_bf16(fmaf(pair[0], factor[r], ptx::low_of(shifts)), fmaf(pair[1], factor[r], ptx::high_of(shifts))));
    }
  }
}

// To rows in global memory that are `stride` numbers apart.
template <int D>
__device__ void round_to(BF16* to, int stride, const Accumulators<D / 8, 1>& c, float factor, int lane) {
  round_pairs<D>(c, {factor, factor}, nullptr, lane, [&](int row, int column, uint32_t pair) {
    *reinterpret_cast<uint32_t*>(to + (row * stride + column)) = pair;
  });
}

// One head's table on its way to shared memory, last entry first. A thread asks for all its entries, each in a sector
// of its own, before the block asks for anything else, and stores them when the rest is under way: a block begins with
// this.
template <int W, int kThreads> class TableEntries {
  static constexpr int kTable = (2 * W - 1) * (2 * W - 1), kCount = (kTable + kThreads - 1) / kThreads;
  BF16 entries_[kCount];

 public:
  // `bias`: of all heads.
  __device__ TableEntries(const BF16* bias, int heads, int head, int thread) {
    SHARDIT_UNROLL
    for (int i = 0; i < kCount; ++i) {
      const int r = thread + i * kThreads;
      entries_[i] = r < kTable ? bias[(kTable - 1 - r) * heads + head] : BF16(0.0f);
    }
  }
  // Each entry times `factor`.
  __device__ void store(float* to, float factor, int thread) const {
    SHARDIT_UNROLL
    for (int i = 0; i < kCount; ++i) {
      const int r = thread + i * kThreads;
      if (r < kTable) to[r] = factor * static_cast<float>(entries_[i]);
    }
  }
};

}  // namespace shardit::attention_warp

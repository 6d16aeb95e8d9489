// Matrix products of a few dozen rows and columns, where a library call would cost more than the product: attention's.
// Operands are in Accum type, right-hand sides and results row-major with rows padded to whole vectors.
//
// Every element of a result is one chain of fused multiply-adds in the order of the inner index, so its bits depend
// neither on the register tiles nor on the other elements.
#pragma once

#include <utility>

#include "ops/vector.h"

namespace shardit {

inline int64_t whole_vectors(int64_t n) { return (n + 15) / 16 * 16; }  // elements; fp64 pads to two vectors

// Elements between the rows of a padded matrix. Rows a power of two apart would share a few cache sets.
inline int64_t padded_stride(int64_t columns) {
  const int64_t padded = whole_vectors(columns);
  return padded % 128 == 0 ? padded + 16 : padded;
}

// The left operand: rows and inner index may lie any distance apart, so that it can be used transposed.
template <typename S> struct LeftOperand {
  const S* data;
  int64_t row_stride, inner_stride;
};

template <typename S> struct PaddedMatrix {
  S* data;
  int64_t stride;
};

// R rows of V vectors, held in registers.
template <typename S, int R, int V>
__attribute__((always_inline)) inline void multiply_block(int64_t inner, LeftOperand<S> a, PaddedMatrix<const S> b,
                                                          PaddedMatrix<S> c, bool accumulate) {
  constexpr int kLanes = kVectorLanes<S>;
  Vector<S> sum[R][V];
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 16
    for (int v = 0; v < V; ++v) sum[r][v] = accumulate ? load(c.data + r * c.stride + v * kLanes) : Vector<S>{};
  for (int64_t k = 0; k < inner; ++k) {
    Vector<S> row[V];
#pragma GCC unroll 16
    for (int v = 0; v < V; ++v) row[v] = load(b.data + k * b.stride + v * kLanes);
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      const Vector<S> x = broadcast(a.data[r * a.row_stride + k * a.inner_stride]);
#pragma GCC unroll 16
      for (int v = 0; v < V; ++v) sum[r][v] = fma(x, row[v], sum[r][v]);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 16
    for (int v = 0; v < V; ++v) store(c.data + r * c.stride + v * kLanes, sum[r][v]);
}

// All rows of a strip of V vectors. 32 registers: R * V sums, V of b, one of a.
template <int V>
inline constexpr int kRowsInRegisters = V == 1   ? 12
                                        : V == 2 ? 12
                                        : V == 3 ? 8
                                        : V == 4 ? 6
                                        : V == 5 ? 5
                                                 : 4;

template <typename S, int V>
__attribute__((noinline)) void multiply_strip(int64_t rows, int64_t inner, LeftOperand<S> a, PaddedMatrix<const S> b,
                                              PaddedMatrix<S> c, bool accumulate) {
  const int64_t blocks = (rows + kRowsInRegisters<V> - 1) / kRowsInRegisters<V>;
  for (int64_t i = 0; i < blocks; ++i) {
    const int64_t begin = rows * i / blocks, count = rows * (i + 1) / blocks - begin;  // of nearly equal height
    const LeftOperand<S> left{a.data + begin * a.row_stride, a.row_stride, a.inner_stride};
    const PaddedMatrix<S> result{c.data + begin * c.stride, c.stride};
    [&]<int... R>(std::integer_sequence<int, R...>) {
      ((count == R + 1 && (multiply_block<S, R + 1, V>(inner, left, b, result, accumulate), true)) || ...);
    }
    (std::make_integer_sequence<int, kRowsInRegisters<V>>());
  }
}

// c (rows, columns) = a (rows, inner) b (inner, columns), or += ; columns are rounded up to whole vectors.
template <typename S>
void multiply(int64_t rows, int64_t columns, int64_t inner, LeftOperand<S> a, PaddedMatrix<const S> b,
              PaddedMatrix<S> c, bool accumulate) {
  constexpr int64_t kLanes = kVectorLanes<S>;
  int64_t vectors = (columns + kLanes - 1) / kLanes;
  while (vectors > 0) {
    const int64_t v = vectors <= 6 ? vectors : 4;
    switch (v) {
      case 1:
        multiply_strip<S, 1>(rows, inner, a, b, c, accumulate);
        break;
      case 2:
        multiply_strip<S, 2>(rows, inner, a, b, c, accumulate);
        break;
      case 3:
        multiply_strip<S, 3>(rows, inner, a, b, c, accumulate);
        break;
      case 4:
        multiply_strip<S, 4>(rows, inner, a, b, c, accumulate);
        break;
      case 5:
        multiply_strip<S, 5>(rows, inner, a, b, c, accumulate);
        break;
      case 6:
        multiply_strip<S, 6>(rows, inner, a, b, c, accumulate);
        break;
    }
    b.data += v * kLanes;
    c.data += v * kLanes;
    vectors -= v;
  }
}

// to (columns, rows) = from (rows, columns), both padded: whole squares are moved, so the padding of `from` must be
// readable up to whole_vectors() in both directions.
template <typename S> void transpose(int64_t rows, int64_t columns, PaddedMatrix<const S> from, PaddedMatrix<S> to) {
  constexpr int kLanes = kVectorLanes<S>;
  for (int64_t r = 0; r < rows; r += kLanes)
    for (int64_t c = 0; c < columns; c += kLanes) {
      Vector<S> x[kLanes], y[kLanes];
#pragma GCC unroll 16
      for (int i = 0; i < kLanes; ++i) x[i] = load(from.data + (r + i) * from.stride + c);
#pragma GCC unroll 4
      for (int stage = 1; stage < kLanes; stage *= 2) {  // log2(lanes) perfect shuffles of the rows
#pragma GCC unroll 8
        for (int i = 0; i < kLanes / 2; ++i) {
          y[2 * i] = zip_low(x[i], x[i + kLanes / 2]);
          y[2 * i + 1] = zip_high(x[i], x[i + kLanes / 2]);
        }
#pragma GCC unroll 16
        for (int i = 0; i < kLanes; ++i) x[i] = y[i];
      }
#pragma GCC unroll 16
      for (int i = 0; i < kLanes; ++i) store(to.data + (c + i) * to.stride + r, x[i]);
    }
}

// to = (from + shift) * scale, widened, with zeros in the padding of the columns; `shift` may be null.
template <typename S, typename T>
void widen(int64_t rows, int64_t columns, const T* from, int64_t from_stride, const S* shift, S scale,
           PaddedMatrix<S> to) {
  constexpr int64_t kLanes = kVectorLanes<S>;
  const int64_t padded = whole_vectors(columns), whole = columns / kLanes * kLanes;
  for (int64_t r = 0; r < rows; ++r) {
    const T* x = from + r * from_stride;
    S* y = to.data + r * to.stride;
    for (int64_t i = 0; i < whole; i += kLanes) {
      const Vector<S> v = load(x + i);
      store(y + i, shift ? (v + load(shift + i)) * scale : v * scale);
    }
    if (whole == padded) continue;
    for (int64_t i = whole; i < columns; ++i) y[i] = (static_cast<S>(x[i]) + (shift ? shift[i] : S(0))) * scale;
    for (int64_t i = columns; i < padded; ++i) y[i] = 0;
  }
}

}  // namespace shardit

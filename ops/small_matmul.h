// Matrix products of a few dozen rows and columns, where a library call would cost more than the product: attention's.
// Operands are in Accum type, right-hand sides and results row-major with rows padded to whole vectors.
//
// Every element of a result is one chain of fused multiply-adds in the order of the inner index, so its bits depend
// neither on the register tiles nor on the other elements.
#pragma once

#include "ops/ahead.h"
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

inline constexpr int64_t kProductsPerAsk = 8;  // along the inner index

// R rows of V registers of sums.
template <typename S, int R, int V>
[[gnu::always_inline]] inline void multiply_block(int64_t inner, LeftOperand<S> a, PaddedMatrix<const S> b,
                                                  PaddedMatrix<S> c, bool accumulate, RowsAhead& ahead) {
  Register<S> sum[R][V] = {};
  const auto for_sums = [&](auto f) {
    S* row = opaque(c.data);  // else the compiler keeps R pointers from the loads to the stores
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r, row += c.stride)
#pragma GCC unroll 16
      for (int v = 0; v < V; ++v) f(sum[r][v], row + v * kRegisterLanes<S>);
  };
  if (accumulate) for_sums([](Register<S>& x, const S* at) { x = load_register<S>(at); });
  int64_t k = 0;
  do {
    if (k % kProductsPerAsk == 0) ahead.ask();
    Register<S> row[V];
#pragma GCC unroll 16
    for (int v = 0; v < V; ++v) row[v] = load_register<S>(b.data + v * kRegisterLanes<S>);
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      const Register<S> x = broadcast_register(a.data[r * a.row_stride]);
#pragma GCC unroll 16
      for (int v = 0; v < V; ++v) sum[r][v] = fma_register(x, row[v], sum[r][v]);
    }
    a.data += a.inner_stride, b.data += b.stride;
  } while (++k < inner);
  for_sums([](const Register<S>& x, S* at) { store_register(at, x); });
}

// The widest strip and what is cut from wider ones, in registers, and the rows of one of V: R * V sums, V of b and one
// of a share the machine's 32 registers of AVX-512, or 16.
inline constexpr int kWidestStrip = kRegisterBytes == 64 ? 6 : 3, kUsualStrip = kRegisterBytes == 64 ? 4 : 2;
template <int V>
inline constexpr int kRowsInRegisters = kRegisterBytes == 64 ? (V <= 2   ? 12
                                                                : V == 3 ? 8
                                                                : V == 4 ? 6
                                                                : V == 5 ? 5
                                                                         : 4)
                                                             : 12 / V;

template <typename S, int V>
__attribute__((noinline)) void multiply_strip(int64_t rows, int64_t inner, LeftOperand<S> a, PaddedMatrix<const S> b,
                                              PaddedMatrix<S> c, bool accumulate, RowsAhead& ahead) {
  const int64_t blocks = (rows + kRowsInRegisters<V> - 1) / kRowsInRegisters<V>;
  for (int64_t i = 0; i < blocks; ++i) {
    const int64_t begin = rows * i / blocks, count = rows * (i + 1) / blocks - begin;  // of nearly equal height
    const LeftOperand<S> left{a.data + begin * a.row_stride, a.row_stride, a.inner_stride};
    const PaddedMatrix<S> result{c.data + begin * c.stride, c.stride};
    with_constant<kRowsInRegisters<V>>(
        count, [&](auto r) { multiply_block<S, decltype(r)::value, V>(inner, left, b, result, accumulate, ahead); });
  }
}

// c (rows, columns) = a (rows, inner) b (inner, columns), or += ; columns are rounded up to whole vectors. Meanwhile
// rows of `ahead` are asked for. REQUIRES: inner > 0.
template <typename S>
void multiply(int64_t rows, int64_t columns, int64_t inner, LeftOperand<S> a, PaddedMatrix<const S> b,
              PaddedMatrix<S> c, bool accumulate, RowsAhead& ahead) {
  int64_t registers = (columns + kVectorLanes<S> - 1) / kVectorLanes<S> * kRegistersOfVector;
  while (registers > 0) {
    const int64_t width = registers <= kWidestStrip ? registers : kUsualStrip;
    with_constant<kWidestStrip>(
        width, [&](auto v) { multiply_strip<S, decltype(v)::value>(rows, inner, a, b, c, accumulate, ahead); });
    b.data += width * kRegisterLanes<S>;
    c.data += width * kRegisterLanes<S>;
    registers -= width;
  }
}

// to (columns, rows) = from (rows, columns), both padded: whole squares are moved, so the padding of `from` must be
// readable up to whole_vectors() in both directions.
template <typename S> void transpose(int64_t rows, int64_t columns, PaddedMatrix<const S> from, PaddedMatrix<S> to) {
  for (int64_t r = 0; r < rows; r += kVectorLanes<S>)
    for (int64_t c = 0; c < columns; c += kVectorLanes<S>)
      transpose_square<S>(from.data + r * from.stride + c, from.stride, to.data + c * to.stride + r, to.stride);
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

// How the kernel of packed_product.cc wants matrices to lie. b in panels: a few registers wide, a line for each k, read
// from its first byte to its last; the last panel may have fewer registers. a in rows that each lie along k, or, where
// its memory runs along the rows, in strips: a few rows with all of one k together.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "core/pool.h"  // tile_at
#include "ops/kernel.h"
#include "ops/product.h"
#include "ops/vector.h"

namespace shardit::packed {

inline constexpr int kWidth = kRegisterBytes == 64 ? 2 : 3;      // registers of a panel
inline constexpr int kMostRows = kRegisterBytes == 64 ? 12 : 4;  // rows of sums that fit beside them
template <typename S> inline constexpr int kPanelColumns = kWidth* kRegisterLanes<S>;

// Of k, so many at a time: a panel's part and a few rows of a stay in the first-level cache.
inline constexpr int64_t kInner = 256;
inline constexpr int64_t kPackPanels = 8, kPackLines = 64;  // of b, in one call of pack

// to[i] = from[i], widened, 0 <= i < n.
template <int64_t n, typename S, typename T> void widen(const T* from, S* to) {
  if constexpr (std::is_same_v<T, S>) {
    std::memcpy(to, from, n * sizeof(S));
  } else {
#pragma GCC unroll 24
    for (int64_t i = 0; i < n; ++i) to[i] = static_cast<S>(from[i]);
  }
}
template <typename S, typename T> void widen(const T* from, int64_t n, S* to) {
  for (int64_t i = 0; i < n; ++i) to[i] = static_cast<S>(from[i]);
}

// Columns become rows: to (columns, rows) = from (rows, columns).
template <typename S, typename T>
void turn(const T* from, int64_t from_stride, int64_t rows, int64_t columns, S* to, int64_t to_stride) {
  constexpr int64_t kSide = kRegisterLanes<S>;
  const int64_t square_rows = rows / kSide * kSide, square_columns = columns / kSide * kSide;
  for (int64_t r = 0; r < square_rows; r += kSide)
    for (int64_t c = 0; c < square_columns; c += kSide)
      transpose_registers(from + r * from_stride + c, from_stride, to + c * to_stride + r, to_stride);
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = r < square_rows ? square_columns : 0; c < columns; ++c)
      to[c * to_stride + r] = static_cast<S>(from[r * from_stride + c]);
}

// Of a, a few of k at a time: a cache line has rows of several strips.
inline constexpr int64_t kPackInner = 8;

// R rows of a strip that lie side by side in memory, `inner` of k, at most kPackInner.
template <int R, typename S, typename T> void pack_strip(const T* from, int64_t stride, int64_t inner, S* to) {
  if (inner == kPackInner) {
#pragma GCC unroll 8
    for (int64_t l = 0; l < kPackInner; ++l) widen<R>(from + l * stride, to + l * R);
  } else {
    for (int64_t l = 0; l < inner; ++l) widen<R>(from + l * stride, to + l * R);
  }
}

// Elements of a line of a panel of so many columns: whole registers.
template <typename S> int64_t line_of(int64_t columns) {
  return tile_count(columns, kRegisterLanes<S>) * kRegisterLanes<S>;
}

// Some lines of one panel, of V registers.
template <int V, typename S, typename T>
void pack_part(const T* from, int64_t stride, int64_t lines, int64_t columns, S* to) {
  constexpr int64_t kLanes = kRegisterLanes<S>, kLine = V * kLanes;
  if (columns == kLine) {
    for (int64_t l = 0; l < lines; ++l)
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v)
        store_register(to + l * kLine + v * kLanes, load_register<S>(from + l * stride + v * kLanes));
    return;
  }
  for (int64_t l = 0; l < lines; ++l) {
    widen(from + l * stride, columns, to + l * kLine);
    std::fill_n(to + l * kLine + columns, kLine - columns, S(0));
  }
}

template <typename S, typename T> void pack_part(const T* from, int64_t stride, int64_t lines, int64_t columns, S* to) {
  with_constant<kWidth>(tile_count(columns, kRegisterLanes<S>),
                        [&](auto v) { pack_part<decltype(v)::value>(from, stride, lines, columns, to); });
}

// Of b whose lines each are one k: some lines, all panels. A few lines at a time, so that both sides are read and
// written in their order.
template <typename S, typename T> void pack_lines(const Product& p, int64_t i, const T* b, S* panels) {
  constexpr int64_t kPanel = kPanelColumns<S>, kSideBySide = 8;
  const Tile part = tile_at(p.k, kPackLines, i);
  for (int64_t first = part.begin; first < part.end; first += kSideBySide)
    for (int64_t column = 0; column < p.n; column += kPanel) {
      const int64_t columns = std::min(kPanel, p.n - column);
      pack_part(b + first * p.b.row_stride + column, p.b.row_stride, std::min(kSideBySide, part.end - first), columns,
                panels + column * p.k + first * line_of<S>(columns));
    }
}

// Of b whose columns lie along k: some panels.
template <typename S, typename T> void pack_columns(const Product& p, int64_t i, const T* b, S* panels) {
  constexpr int64_t kPanel = kPanelColumns<S>;
  const Tile part = tile_at(p.n, kPackPanels * kPanel, i);
  for (int64_t column = part.begin; column < part.end; column += kPanel) {
    S* const to = panels + column * p.k;
    const int64_t columns = std::min(kPanel, p.n - column), line = line_of<S>(columns);
    if (columns < line) std::fill_n(to, line * p.k, S(0));
    turn(b + column * p.b.column_stride, p.b.column_stride, columns, p.k, to, line);
  }
}

}  // namespace shardit::packed

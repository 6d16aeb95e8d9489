#include "ops/packed_product.h"

#include <algorithm>
#include <cstddef>
#include <type_traits>
#include <utility>

#include "core/pool.h"  // tile_count
#include "ops/ahead.h"
#include "ops/epilogue.h"
#include "ops/kernel.h"
#include "ops/packed_panels.h"
#include "ops/vector.h"

namespace shardit {

using namespace packed;

namespace {

// R rows of a: those of a strip, or rows that each lie along k. Of these every third has a pointer; the compiler would
// find a sum of row and stride for each, which are more than it has registers for.
template <bool strip, int R, typename S> class RowsOfA {
 public:
  RowsOfA(const S* a, int64_t row_stride) : row_stride_(row_stride) {
#pragma GCC unroll 4
    for (int i = 0; i < kPointers; ++i) at_[i] = opaque(a + 3 * i * row_stride);
  }
  [[gnu::always_inline]] S element(int row, int l) const {
    return strip ? at_[0][l * R + row] : at_[row / 3][row % 3 * row_stride_ + l];
  }
  [[gnu::always_inline]] void advance(int inner) {
#pragma GCC unroll 4
    for (const S*& at : at_) at = opaque(at + (strip ? inner * R : inner));
    asm("" : "+r"(row_stride_));
  }

 private:
  static constexpr int kPointers = strip ? 1 : (R + 2) / 3;
  const S* at_[kPointers];
  int64_t row_stride_;
};

// R rows of a panel of V registers: the sums so far, plus `inner` more products each.
template <int inner, bool strip, int R, int V, typename S>
[[gnu::always_inline]] inline void add_products(RowsOfA<strip, R, S>& a, const S*& b, Register<S> (&sum)[R][V]) {
#pragma GCC unroll 16
  for (int l = 0; l < inner; ++l, b += V * kRegisterLanes<S>) {
    Register<S> row[V];
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) row[v] = load_register<S>(b + v * kRegisterLanes<S>);
#pragma GCC unroll 12
    for (int r = 0; r < R; ++r) {
      const Register<S> x = broadcast_register(a.element(r, l));
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) sum[r][v] = fma_register(x, row[v], sum[r][v]);
    }
  }
  a.advance(inner);
  b = opaque(b);
}

// What the strips of one panel have in common: the panel's columns, and a part of k.
template <typename S> struct Panel {
  const S* b;
  int64_t inner;
  bool first, last;  // of the parts of k
  int64_t sums_stride, c_stride;
  S bias[kPanelColumns<S>];
};

// What is asked for while a strip's sums are made, a few lines after each kStep products: a core has only so many
// requests under way, and what misses the first-level cache meanwhile waits for one of them to end.
template <typename C> struct Asks {
  const C *to, *beside;  // where sums go, and what the epilogue reads or writes besides, else `to`; rows of one stride
  int64_t stride;
  Places next_panel, next_a;
};
constexpr int kStep = kRegisterBytes == 64 ? 8 : 16;

// The sums so far, plus a panel's part of k.
template <bool strip, int R, int V, typename S, typename C>
[[gnu::always_inline]] inline void add_panel(const Panel<S>& panel, const S* a, int64_t row_stride, Asks<C> asks,
                                             Register<S> (&sum)[R][V]) {
  RowsOfA<strip, R, S> rows(a, row_stride);
  const S* b = panel.b;
  int64_t left = panel.inner;
  for (; left >= kStep; left -= kStep) {
    if (left / kStep % 2 == 0) {
#pragma GCC unroll 4
      for (int64_t column = 0; column < V * kRegisterLanes<S>; column += kCacheLineBytes / int64_t{sizeof(C)}) {
        __builtin_prefetch(asks.to + column, 1);
        ask_for(asks.beside + column);
      }
      asks.to += asks.stride, asks.beside += asks.stride;
    }
    ask_for(asks.next_panel.at);
    ask_for(asks.next_panel.at + kCacheLineBytes);
    asks.next_panel.at = opaque(asks.next_panel.at + asks.next_panel.stride);
    ask_for(asks.next_a.at);
    asks.next_a.at = opaque(asks.next_a.at + asks.next_a.stride);
    add_products<kStep>(rows, b, sum);
  }
  for (; left > 0; --left) add_products<1>(rows, b, sum);
}

// R rows of the columns of a panel of V registers. `sums` holds them between the parts of k.
template <bool strip, int R, int V, typename S, typename C>
[[gnu::noinline]] void multiply_rows(const Panel<S>& panel, const S* a, int64_t row_stride, const Asks<C>& asks,
                                     S* sums, C* c) {
  constexpr int kLanes = kRegisterLanes<S>;
  Register<S> sum[R][V] = {};
  const auto for_sums = [&](auto f) {
    const int64_t stride = panel.sums_stride;
#pragma GCC unroll 12
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) f(sum[r][v], sums + r * stride + v * kLanes);
  };
  if (!panel.first) for_sums([](Register<S>& x, const S* at) { x = load_register<S>(at); });
  add_panel<strip>(panel, a, row_stride, asks, sum);
  if (!panel.last) return for_sums([](const Register<S>& x, S* at) { store_register(at, x); });
  Register<S> bias[V];
#pragma GCC unroll 4
  for (int v = 0; v < V; ++v) bias[v] = load_register<S>(panel.bias + v * kLanes);
#pragma GCC unroll 12
  for (int r = 0; r < R; ++r, c += panel.c_stride)
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) store_register(c + v * kLanes, sum[r][v] + bias[v]);
}

// The rows of a tile are cut into strips of nearly equal height: f(the first row, how many).
template <typename F> [[gnu::always_inline]] inline void for_strips(int64_t rows, F&& f) {
  const int64_t strips = tile_count(rows, kMostRows), height = rows / strips, taller = rows % strips;
  for (int64_t i = 0, row = 0; i < strips; ++i) {
    const int64_t these = height + (i < taller ? 1 : 0);
    f(row, these);
    row += these;
  }
}

// A part of a: `rows` rows from `row` on, kInner of k from `k` on.
template <typename T>
Ahead a_ahead(const Product& p, const T* a, int64_t row, int64_t rows, int64_t k, int64_t shares) {
  const int64_t inner = std::min(kInner, p.k - k);
  constexpr int64_t kBytes = sizeof(T);
  const T* const from = a + row * p.a.row_stride + k * p.a.column_stride;
  if (p.a.column_stride == 1) return {from, rows, inner * kBytes, p.a.row_stride * kBytes, shares, kCacheLineBytes};
  return {from, inner, rows * kBytes, p.a.column_stride * kBytes, shares, kCacheLineBytes};
}

// A tile, part of k by part: its rows of a are packed, if they have to be, then multiplied with one panel after
// another.
template <typename T, typename C> class TileRun {
 public:
  using S = Accum<T>;
  static constexpr int64_t kPanel = kPanelColumns<S>;
  // Between the parts of k, sums lie in c where its elements can hold them.
  static constexpr bool kSumsInC = std::is_same_v<S, C>;

  // `panels`: packed beforehand; null where the tile packs those of b that it uses.
  TileRun(const Product& product, const MatrixTile& tile, const MatrixTile& next, const ProductOperands& operands,
          const S* panels, S* scratch)
      : p_(product),
        t_(tile),
        next_(next),
        o_(operands),
        b_(static_cast<const T*>(operands.b)),
        panels_(panels),
        packed_panel_(scratch),
        packed_a_(scratch + kPanel * kInner),
        sums_(packed_a_ + tile.rows * kInner) {}

  void run() {
    const T* const a = static_cast<const T*>(o_.a);
    for (int64_t k = 0; k < p_.k; k += kInner) {
      const int64_t inner = std::min(kInner, p_.k - k);
      lay_out_a(a + t_.row * p_.a.row_stride + k * p_.a.column_stride, inner);
      ask_for_next_a(a, k + inner);
      for (int64_t column = t_.column; column < t_.column + t_.columns; column += kPanel) {
        const int64_t columns = std::min(kPanel, p_.n - column);
        Panel<S> panel{.b = panel_at(column, columns, k, inner),
                       .inner = inner,
                       .first = k == 0,
                       .last = k + inner == p_.k,
                       .sums_stride = kSumsInC ? p_.c.row_stride : kPanel,
                       .c_stride = p_.c.row_stride,
                       .bias = {}};
        if (o_.bias) widen(static_cast<const T*>(o_.bias) + column, columns, panel.bias);
        S* const sums = sums_ + (column - t_.column) * t_.rows;
        columns % kRegisterLanes<S> == 0 ? whole_panel(panel, column, columns, sums)
                                         : ragged_panel(panel, column, columns, sums);
      }
    }
  }

 private:
  // `a`: the first of the tile's rows, at the part of k. Rows that lie along k are read where they are, unless they
  // have to be widened.
  void lay_out_a(const T* a, int64_t inner) {
    a_ = packed_a_, a_stride_ = inner;
    if (p_.a.column_stride != 1) return pack_strips(a, inner);
    if constexpr (std::is_same_v<T, S>)
      a_ = a, a_stride_ = p_.a.row_stride;
    else
      for (int64_t row = 0; row < t_.rows; ++row) widen(a + row * p_.a.row_stride, inner, packed_a_ + row * inner);
  }

  void pack_strips(const T* a, int64_t inner) {
    for (int64_t l = 0; l < inner; l += kPackInner)
      for_strips(t_.rows, [&](int64_t row, int64_t rows) {
        with_constant<kMostRows>(rows, [&](auto r) {
          constexpr int R = decltype(r)::value;
          pack_strip<R>(a + row + l * p_.a.column_stride, p_.a.column_stride, std::min(kPackInner, inner - l),
                        packed_a_ + row * inner + l * R);
        });
      });
  }

  // What is read next: the next part of k, or the first of the next tile's rows.
  void ask_for_next_a(const T* a, int64_t k) {
    const int64_t shares = tile_count(t_.rows, kMostRows) * tile_count(t_.columns, kPanel);
    next_a_ = k < p_.k ? a_ahead(p_, a, t_.row, t_.rows, k, shares) : a_ahead(p_, a, next_.row, next_.rows, 0, shares);
  }

  // A panel's part of k; the next one is asked for while this one is used.
  const S* panel_at(int64_t column, int64_t columns, int64_t k, int64_t inner) {
    const int64_t shares = tile_count(t_.rows, kMostRows);
    constexpr int64_t kLine = kPanel * static_cast<int64_t>(sizeof(S));
    if (panels_) {  // the next one lies behind this one; at the end it is whatever does
      const S* const panel = panels_ + column * p_.k + k * line_of<S>(columns);
      next_panel_ = {panel + kPanel * p_.k, inner, kLine, kLine, shares, kLine};
      return panel;
    }
    pack_part<S>(b_ + k * p_.b.row_stride + column, p_.b.row_stride, inner, columns, packed_panel_);
    const bool more = column + kPanel < t_.column + t_.columns;
    const T* const next =
        more ? b_ + k * p_.b.row_stride + column + kPanel : b_ + (k + inner) * p_.b.row_stride + t_.column;
    next_panel_ = {next,   more ? inner : std::min(kInner, p_.k - k - inner),
                   kLine,  p_.b.row_stride * static_cast<int64_t>(sizeof(T)),
                   shares, kLine};
    return packed_panel_;
  }

  void multiply(const Panel<S>& panel, int64_t columns, int64_t row, int64_t rows, const Asks<C>& asks, S* sums, C* c) {
    const S* const a = a_ + row * a_stride_;
    with_constant<kWidth>(tile_count(columns, kRegisterLanes<S>), [&](auto v) {
      with_constant<kMostRows>(rows, [&](auto r) {
        constexpr int R = decltype(r)::value, V = decltype(v)::value;
        p_.a.column_stride == 1 ? multiply_rows<false, R, V>(panel, a, a_stride_, asks, sums, c)
                                : multiply_rows<true, R, V>(panel, a, a_stride_, asks, sums, c);
      });
    });
  }

  // Some of the tile's rows, `row` counted from its first one, in a panel.
  MatrixTile part_of_c(int64_t row, int64_t column, int64_t rows, int64_t columns) const {
    return {t_.row + row, column, rows, columns};
  }
  C* at(void* matrix, const MatrixTile& part) const {
    return static_cast<C*>(matrix) + part.row * p_.c.row_stride + part.column;
  }

  // A panel of whole registers.
  void whole_panel(const Panel<S>& panel, int64_t column, int64_t columns, S* sums) {
    for_strips(t_.rows, [&](int64_t row, int64_t rows) {
      const MatrixTile part = part_of_c(row, column, rows, columns);
      C* const to = at(product_of(p_.epilogue, o_), part);
      void* const beside = beside_product(p_.epilogue, o_);
      const Asks<C> asks = asks_of(to, beside ? at(beside, part) : to, p_.c.row_stride);
      multiply(panel, columns, row, rows, asks, sums_of(sums, row, to), to);
      if (panel.last) finish_product<C>(p_, o_, part);
    });
  }

  // A panel that c is narrower than: by way of memory of the panel's width.
  void ragged_panel(Panel<S> panel, int64_t column, int64_t columns, S* sums) {
    const int64_t c_stride = std::exchange(panel.c_stride, kPanel);
    panel.sums_stride = kPanel;
    C whole[kMostRows * kPanel] = {};
    for_strips(t_.rows, [&](int64_t row, int64_t rows) {
      const MatrixTile part = part_of_c(row, column, rows, columns);
      C* const to = at(product_of(p_.epilogue, o_), part);
      if (kSumsInC && !panel.first)
        for (int64_t r = 0; r < rows; ++r) std::copy_n(to + r * c_stride, columns, whole + r * kPanel);
      multiply(panel, columns, row, rows, asks_of(whole, whole, kPanel), sums_of(sums, row, whole), whole);
      if (kSumsInC || panel.last)
        for (int64_t r = 0; r < rows; ++r) std::copy_n(whole + r * kPanel, columns, to + r * c_stride);
      if (panel.last) finish_product<C>(p_, o_, part);
    });
  }

  Asks<C> asks_of(const C* to, const C* beside, int64_t stride) {
    return {to, beside, stride, next_panel_.take_share(), next_a_.take_share()};
  }

  static S* sums_of(S* sums, int64_t row, C* c) {
    if constexpr (kSumsInC)
      return c;
    else
      return sums + row * kPanel;
  }

  const Product& p_;
  const MatrixTile &t_, &next_;
  const ProductOperands& o_;
  const T* b_;
  const S* panels_;
  S *packed_panel_, *packed_a_, *sums_;
  const S* a_ = nullptr;  // the tile's rows, or strips, at the part of k: one row's elements are `a_stride_` on
  int64_t a_stride_ = 0;
  Ahead next_panel_, next_a_;
};

// Calls f with the C++ type of what is summed.
template <typename F> auto visit_sums(const Product& p, F&& f) {
  return p.a.dtype == DType::kF64 ? f(double{}) : f(float{});
}

int64_t rounded_up(int64_t n, int64_t multiple) { return tile_count(n, multiple) * multiple; }

}  // namespace

PackedProduct::PackedProduct(const Product& product, const MatrixTile& largest)
    : product_(product),
      largest_(largest),
      beforehand_(product.b.column_stride != 1 || tile_count(product.m, largest.rows) > 2) {
  CHECK_EQ(product.c.column_stride, 1) << text_of(product);
  for (const MatrixLayout& l : {product.a, product.b})
    CHECK(l.row_stride == 1 || l.column_stride == 1) << text_of(product);
}

int64_t PackedProduct::panel_columns(DType dtype) {
  return dtype == DType::kF64 ? kPanelColumns<double> : kPanelColumns<float>;
}

int64_t PackedProduct::packs() const {
  if (!beforehand_) return 0;
  return product_.b.column_stride == 1 ? tile_count(product_.k, kPackLines)
                                       : tile_count(product_.n, kPackPanels * panel_columns(product_.b.dtype));
}

int64_t PackedProduct::shared_bytes() const {
  if (!beforehand_) return 0;
  return visit_sums(product_, [&]<typename S>(S) {
    return rounded_up(product_.n, kPanelColumns<S>) * product_.k * static_cast<int64_t>(sizeof(S));
  });
}

int64_t PackedProduct::scratch_bytes() const {
  return visit_sums(product_, [&]<typename S>(S) {
    const bool in_scratch = product_.k > kInner && product_.c.dtype != DTypeOf<S>::value;
    const int64_t sums = in_scratch ? rounded_up(largest_.columns, kPanelColumns<S>) : 0;
    return (kPanelColumns<S> * kInner + largest_.rows * (kInner + sums)) * static_cast<int64_t>(sizeof(S));
  });
}

void PackedProduct::pack(int64_t i, const void* b, std::byte* shared) const {
  visit_real(product_.b.dtype, [&]<typename T>(T) {
    auto* to = reinterpret_cast<Accum<T>*>(shared);
    const T* from = static_cast<const T*>(b);
    product_.b.column_stride == 1 ? pack_lines(product_, i, from, to) : pack_columns(product_, i, from, to);
  });
}

void PackedProduct::run(const MatrixTile& tile, const MatrixTile& next, const ProductOperands& operands,
                        const std::byte* shared, std::byte* scratch) const {
  visit_real(product_.a.dtype, product_.c.dtype, [&]<typename T, typename C>(T, C) {
    using S = Accum<T>;
    TileRun<T, C>(product_, tile, next, operands, beforehand_ ? reinterpret_cast<const S*>(shared) : nullptr,
                  reinterpret_cast<S*>(scratch))
        .run();
  });
}

}  // namespace shardit

#include "ops/packed_product.h"

#include <algorithm>
#include <cstddef>
#include <type_traits>
#include <utility>

#include "core/pool.h"  // tile_count
#include "ops/ahead.h"
#include "ops/kernel.h"
#include "ops/packed_panels.h"
#include "ops/vector.h"

namespace shardit {

using namespace packed;

namespace {

// R rows of one panel's columns: the sums so far, plus `inner` more products each.
template <int R, typename S>
[[gnu::always_inline]] inline void add_products(const S* a, const S* b, int64_t inner, Register<S> (&sum)[R][kWidth]) {
#pragma GCC unroll 4
  for (int64_t l = 0; l < inner; ++l, a += R, b += kPanelColumns<S>) {
    Register<S> row[kWidth];
#pragma GCC unroll 4
    for (int v = 0; v < kWidth; ++v) row[v] = load_register<S>(b + v * kRegisterLanes<S>);
#pragma GCC unroll 12
    for (int r = 0; r < R; ++r) {
      const Register<S> x = broadcast_register(a[r]);
#pragma GCC unroll 4
      for (int v = 0; v < kWidth; ++v) sum[r][v] = fma_register(x, row[v], sum[r][v]);
    }
  }
}

// What the strips of one panel have in common: the panel's columns, and a part of k.
template <typename S> struct Panel {
  const S* b;
  int64_t inner;
  bool first, last;  // of the parts of k
  int64_t sums_stride, c_stride;
  S bias[kPanelColumns<S>];
};

// R rows of a panel's columns. `sums` holds them between the parts of k.
template <int R, typename S, typename C>
[[gnu::noinline]] void multiply_strip(const Panel<S>& panel, const S* a, S* sums, C* c) {
  constexpr int kLanes = kRegisterLanes<S>;
  if (panel.last || std::is_same_v<S, C>)  // what is about to be written comes while the sums are made
#pragma GCC unroll 12
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
      for (int64_t column = 0; column < kPanelColumns<S>; column += kCacheLineBytes / static_cast<int64_t>(sizeof(C)))
        __builtin_prefetch(c + r * panel.c_stride + column, 1);
  Register<S> sum[R][kWidth];
#pragma GCC unroll 12
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < kWidth; ++v)
      sum[r][v] = panel.first ? Register<S>{} : load_register<S>(sums + r * panel.sums_stride + v * kLanes);
  add_products<R, S>(a, panel.b, panel.inner, sum);
#pragma GCC unroll 12
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < kWidth; ++v)
      if (panel.last)
        store_register(c + r * panel.c_stride + v * kLanes, sum[r][v] + load_register<S>(panel.bias + v * kLanes));
      else
        store_register(sums + r * panel.sums_stride + v * kLanes, sum[r][v]);
}

// Calls f with the constant R == rows, 1 <= rows <= kMostRows.
template <typename F> [[gnu::always_inline]] inline void with_rows(int64_t rows, F&& f) {
  if (rows == kMostRows) return f(std::integral_constant<int, kMostRows>());
  [&]<int... R>(std::integer_sequence<int, R...>) {
    ((rows == R + 1 && (f(std::integral_constant<int, R + 1>()), true)) || ...);
  }
  (std::make_integer_sequence<int, kMostRows - 1>());
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
  if (p.a.column_stride == 1) return {from, rows, inner * kBytes, p.a.row_stride * kBytes, shares};
  return {from, inner, rows * kBytes, p.a.column_stride * kBytes, shares};
}

// A tile, part of k by part: its rows of a are packed, then multiplied with one panel after another.
template <typename T, typename C> class TileRun {
 public:
  using S = Accum<T>;
  static constexpr int64_t kPanel = kPanelColumns<S>;
  // Between the parts of k, sums lie in c where its elements can hold them.
  static constexpr bool kSumsInC = std::is_same_v<S, C>;

  TileRun(const Product& product, const MatrixTile& tile, S* scratch)
      : p_(product),
        t_(tile),
        packed_a_(scratch),
        sums_(scratch + tile.rows * kInner) {}

  void run(const T* a, const S* panels, const T* bias, C* c) {
    for (int64_t k = 0; k < p_.k; k += kInner) {
      const int64_t inner = std::min(kInner, p_.k - k);
      pack_a(a, k, inner);
      ask_for_next_a(a, k + inner);
      for (int64_t column = t_.column; column < t_.column + t_.columns; column += kPanel) {
        Panel<S> panel{.b = panels + column * p_.k + k * kPanel,
                       .inner = inner,
                       .first = k == 0,
                       .last = k + inner == p_.k,
                       .sums_stride = kSumsInC ? p_.c.row_stride : kPanel,
                       .c_stride = p_.c.row_stride,
                       .bias = {}};
        const int64_t columns = std::min(kPanel, p_.n - column);
        if (bias) widen(bias + column, columns, panel.bias);
        S* const sums = sums_ + (column - t_.column) * t_.rows;
        C* const c_of_panel = c + t_.row * p_.c.row_stride + column;
        columns == kPanel ? whole_panel(panel, sums, c_of_panel) : narrow_panel(panel, columns, sums, c_of_panel);
      }
    }
  }

 private:
  // Where the rows lie side by side, a few of k at a time: a cache line has rows of several strips.
  void pack_a(const T* a, int64_t k, int64_t inner) {
    constexpr int64_t kSome = 16;
    const int64_t step = p_.a.column_stride == 1 ? inner : kSome;
    for (int64_t l = 0; l < inner; l += step)
      for_strips(t_.rows, [&](int64_t row, int64_t rows) {
        const T* from = a + (t_.row + row) * p_.a.row_stride + (k + l) * p_.a.column_stride;
        with_rows(rows, [&](auto r) {
          constexpr int R = decltype(r)::value;
          pack_strip<R>(from, p_.a, std::min(step, inner - l), packed_a_ + row * inner + l * R);
        });
      });
  }

  // What is packed next: the next part of k, or the first of the rows below, which the same thread often has.
  void ask_for_next_a(const T* a, int64_t k) {
    const int64_t shares = tile_count(t_.rows, kMostRows) * tile_count(t_.columns, kPanel);
    const int64_t below = t_.row + t_.rows;
    next_a_ = k < p_.k ? a_ahead(p_, a, t_.row, t_.rows, k, shares)
                       : a_ahead(p_, a, below, std::min(t_.rows, p_.m - below), 0, shares);
  }

  void whole_panel(const Panel<S>& panel, S* sums, C* c) {
    // The next panel lies behind this one; at the end it is whatever does.
    const int64_t bytes = panel.inner * kPanel * static_cast<int64_t>(sizeof(S));
    Ahead next_panel(panel.b + kPanel * p_.k, 1, bytes, 0, tile_count(t_.rows, kMostRows));
    for_strips(t_.rows, [&](int64_t row, int64_t rows) {
      next_panel.ask_share();
      next_a_.ask_share();
      C* const to = c + row * panel.c_stride;
      with_rows(rows, [&](auto r) {
        multiply_strip<decltype(r)::value>(panel, packed_a_ + row * panel.inner, sums_of(sums, row, to), to);
      });
    });
  }

  // A panel that c is narrower than: by way of memory of the panel's width.
  void narrow_panel(Panel<S> panel, int64_t columns, S* sums, C* c) {
    const int64_t c_stride = std::exchange(panel.c_stride, kPanel);
    panel.sums_stride = kPanel;
    C whole[kMostRows * kPanel] = {};
    for_strips(t_.rows, [&](int64_t row, int64_t rows) {
      C* const to = c + row * c_stride;
      if (kSumsInC && !panel.first)
        for (int64_t r = 0; r < rows; ++r) std::copy_n(to + r * c_stride, columns, whole + r * kPanel);
      with_rows(rows, [&](auto r) {
        multiply_strip<decltype(r)::value>(panel, packed_a_ + row * panel.inner, sums_of(sums, row, whole), whole);
      });
      if (kSumsInC || panel.last)
        for (int64_t r = 0; r < rows; ++r) std::copy_n(whole + r * kPanel, columns, to + r * c_stride);
    });
  }

  static S* sums_of(S* sums, int64_t row, C* c) {
    if constexpr (kSumsInC)
      return c;
    else
      return sums + row * kPanel;
  }

  const Product& p_;
  const MatrixTile& t_;
  S *packed_a_, *sums_;
  Ahead next_a_;
};

// Calls f with the C++ type of what is summed.
template <typename F> auto visit_sums(const Product& p, F&& f) {
  return p.a.dtype == DType::kF64 ? f(double{}) : f(float{});
}

int64_t rounded_up(int64_t n, int64_t multiple) { return tile_count(n, multiple) * multiple; }

}  // namespace

PackedProduct::PackedProduct(const Product& product, const MatrixTile& largest) : product_(product), largest_(largest) {
  CHECK_EQ(product.c.column_stride, 1) << text_of(product);
  for (const MatrixLayout& l : {product.a, product.b})
    CHECK(l.row_stride == 1 || l.column_stride == 1) << text_of(product);
}

int64_t PackedProduct::panel_columns(DType dtype) {
  return dtype == DType::kF64 ? kPanelColumns<double> : kPanelColumns<float>;
}

int64_t PackedProduct::packs() const {
  return product_.b.column_stride == 1 ? tile_count(product_.k, kPackLines)
                                       : tile_count(product_.n, kPackPanels * panel_columns(product_.b.dtype));
}

int64_t PackedProduct::shared_bytes() const {
  return visit_sums(product_, [&]<typename S>(S) {
    return rounded_up(product_.n, kPanelColumns<S>) * product_.k * static_cast<int64_t>(sizeof(S));
  });
}

int64_t PackedProduct::scratch_bytes() const {
  return visit_sums(product_, [&]<typename S>(S) {
    const bool in_scratch = product_.k > kInner && product_.c.dtype != DTypeOf<S>::value;
    const int64_t sums = in_scratch ? rounded_up(largest_.columns, kPanelColumns<S>) : 0;
    return largest_.rows * (kInner + sums) * static_cast<int64_t>(sizeof(S));
  });
}

void PackedProduct::pack(int64_t i, const void* b, std::byte* shared) const {
  visit_real(product_.b.dtype, [&]<typename T>(T) {
    auto* to = reinterpret_cast<Accum<T>*>(shared);
    const T* from = static_cast<const T*>(b);
    product_.b.column_stride == 1 ? pack_lines(product_, i, from, to) : pack_columns(product_, i, from, to);
  });
}

void PackedProduct::run(const MatrixTile& tile, const void* a, const std::byte* shared, const void* bias, void* c,
                        std::byte* scratch) const {
  visit_real(product_.a.dtype, product_.c.dtype, [&]<typename T, typename C>(T, C) {
    using S = Accum<T>;
    TileRun<T, C>(product_, tile, reinterpret_cast<S*>(scratch))
        .run(static_cast<const T*>(a), reinterpret_cast<const S*>(shared), static_cast<const T*>(bias),
             static_cast<C*>(c));
  });
}

}  // namespace shardit

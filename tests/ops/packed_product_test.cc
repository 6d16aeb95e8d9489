#include "ops/packed_product.h"

#include <gtest/gtest.h>

#include <cmath>
#include <type_traits>
#include <vector>

#include "core/pool.h"
#include "core/random.h"
#include "ops/kernel.h"

namespace shardit {
namespace {

template <typename T> std::vector<T> drawn(int64_t n, uint64_t key) {
  const Philox philox(5, Purpose::kSynthetic);
  std::vector<T> x(static_cast<size_t>(n));
  for (int64_t i = 0; i < n; ++i)
    x[static_cast<size_t>(i)] = T(static_cast<float>(normal_at(philox, key, static_cast<uint64_t>(i))));
  return x;
}

// One chain of fused multiply-adds along k, from zero, plus the bias, rounded once.
template <typename T, typename C>
C element(const Product& p, const T* a, const T* b, const T* bias, int64_t i, int64_t j) {
  using S = Accum<T>;
  S sum = 0;
  for (int64_t l = 0; l < p.k; ++l)
    sum = std::fma(static_cast<S>(a[i * p.a.row_stride + l * p.a.column_stride]),
                   static_cast<S>(b[l * p.b.row_stride + j * p.b.column_stride]), sum);
  return C(sum + (bias ? static_cast<S>(bias[j]) : S(0)));
}

struct Sizes {
  int64_t m, n, k;
};

// Of matrices that are parts of larger ones: `spare` elements lie between their lines.
template <typename T, typename C> void expect_chains(const Sizes& s, bool a_turned, bool b_turned, bool with_bias) {
  constexpr int64_t spare = 3;
  const auto layout = [](DType dtype, int64_t rows, int64_t columns, bool turned) {
    return turned ? MatrixLayout{dtype, 1, rows + spare} : MatrixLayout{dtype, columns + spare, 1};
  };
  const Product p{.m = s.m,
                  .n = s.n,
                  .k = s.k,
                  .a = layout(DTypeOf<T>::value, s.m, s.k, a_turned),
                  .b = layout(DTypeOf<T>::value, s.k, s.n, b_turned),
                  .c = layout(DTypeOf<C>::value, s.m, s.n, false),
                  .bias = with_bias};
  const auto a = drawn<T>((s.m + spare) * (s.k + spare), 0), b = drawn<T>((s.k + spare) * (s.n + spare), 1),
             bias = drawn<T>(s.n, 2);
  const C untouched(-777.0f);
  std::vector<C> c(static_cast<size_t>(s.m * p.c.row_stride), untouched);

  const int64_t rows = std::min<int64_t>(s.m, 10), columns = 2 * PackedProduct::panel_columns(p.a.dtype);
  const PackedProduct product(p, {.rows = rows, .columns = columns});
  const auto full_of_nans = [](int64_t bytes) {
    return std::vector<std::byte>(static_cast<size_t>(bytes), std::byte{255});
  };
  auto shared = full_of_nans(product.shared_bytes()), scratch = full_of_nans(product.scratch_bytes());
  for (int64_t i = product.packs() - 1; i >= 0; --i) product.pack(i, b.data(), shared.data());
  for (int64_t row = 0; row < s.m; row += rows)
    for (int64_t column = 0; column < s.n; column += columns) {
      const MatrixTile tile{row, column, std::min(rows, s.m - row), std::min(columns, s.n - column)};
      product.run(tile, tile, {a.data(), b.data(), with_bias ? bias.data() : nullptr, c.data()}, shared.data(),
                  scratch.data());
    }

  for (int64_t i = 0; i < s.m; ++i)
    for (int64_t j = 0; j < p.c.row_stride; ++j) {
      const C expected =
          j < s.n ? element<T, C>(p, a.data(), b.data(), with_bias ? bias.data() : nullptr, i, j) : untouched;
      ASSERT_EQ(static_cast<double>(c[static_cast<size_t>(i * p.c.row_stride + j)]), static_cast<double>(expected))
          << text_of(p) << (a_turned ? " a turned" : "") << (b_turned ? " b turned" : "") << " at " << i << ", " << j;
    }
}

// All layouts, with what does not fill a strip, a panel, a square or a part of k.
template <typename T, typename C> void expect_chains_of_all_layouts() {
  for (const Sizes& s :
       {Sizes{1, 1, 1}, Sizes{7, 13, 5}, Sizes{23, 70, 33}, Sizes{12, 48, 256}, Sizes{11, 100, 600}})
    for (int turned = 0; turned < 4; ++turned) expect_chains<T, C>(s, turned & 1, turned & 2, turned != 3);
}

TEST(PackedProduct, IsOneChainOfFusedMultiplyAdds) {
  expect_chains_of_all_layouts<float, float>();
  expect_chains_of_all_layouts<double, double>();
}

TEST(PackedProduct, WidensHalfPrecisionAndRoundsOnce) {
  expect_chains_of_all_layouts<BF16, BF16>();
  expect_chains_of_all_layouts<BF16, float>();
}

}  // namespace
}  // namespace shardit

#include <gtest/gtest.h>

#include "core/error.h"
#include "ops/tiled_product.h"
#include "tests/ops/evaluate.h"

namespace shardit {
namespace {

struct Sizes {
  int64_t rows, m, k;
};

class Linear : public testing::TestWithParam<Sizes> {
 protected:
  Sizes s = GetParam();
  Operand x = integer_operand({s.rows, s.k}, 0), w = integer_operand({s.m, s.k}, 1), b = integer_operand({s.m}, 2),
          dy = integer_operand({s.rows, s.m}, 3);
};

const Precision kPrecisions[] = {Precision{}, kBF16Everywhere};

TEST_P(Linear, IsExactOnSmallIntegers) {
  Numbers expected;
  for (int64_t r = 0; r < s.rows; ++r)
    for (int64_t m = 0; m < s.m; ++m) {
      double sum = b.numbers[m];
      for (int64_t k = 0; k < s.k; ++k) sum += x.numbers[r * s.k + k] * w.numbers[m * s.k + k];
      expected.push_back(sum);
    }
  for (const Precision& precision : kPrecisions)
    EXPECT_EQ(evaluate(
                  {x, w, b}, [](auto& v) { return std::vector{linear(v[0], v[1], v[2])}; }, precision, 2)[0],
              expected);
}

TEST_P(Linear, GradientsAreExactOnSmallIntegers) {
  Numbers dx(s.rows * s.k), dw(s.m * s.k);
  for (int64_t r = 0; r < s.rows; ++r)
    for (int64_t m = 0; m < s.m; ++m)
      for (int64_t k = 0; k < s.k; ++k) {
        dx[r * s.k + k] += dy.numbers[r * s.m + m] * w.numbers[m * s.k + k];
        dw[m * s.k + k] += dy.numbers[r * s.m + m] * x.numbers[r * s.k + k];
      }
  for (const Precision& precision : kPrecisions) {
    EXPECT_EQ(evaluate(
                  {dy, w}, [](auto& v) { return std::vector{linear_dgrad(v[0], v[1])}; }, precision, 2)[0],
              dx);
    EXPECT_EQ(evaluate(
                  {dy, x},
                  [&](auto& v) {
                    return std::vector{linear_wgrad(v[0], v[1], {s.m, s.k})};
                  },
                  precision, 2)[0],
              dw);
  }
}

TEST_P(Linear, FusingGeluChangesNoBit) {
  const Operand x = normal_operand({s.rows, s.k}, 4), w = normal_operand({s.m, s.k}, 5), b = normal_operand({s.m}, 6);
  for (const Precision& precision : kPrecisions) {
    const auto fused = evaluate(
        {x, w, b}, [](auto& v) { return linear_gelu(v[0], v[1], v[2]); }, precision, 3);
    const auto apart = evaluate(
        {x, w, b},
        [](auto& v) {
          const Value z = linear(v[0], v[1], v[2]);
          return std::vector{gelu(z), z};
        },
        precision);
    EXPECT_EQ(fused, apart);
  }
}

TEST_P(Linear, FusingTheGradientOfGeluChangesNoBit) {
  const Operand dy = normal_operand({s.rows, s.m}, 4), w = normal_operand({s.m, s.k}, 5),
                z = normal_operand({s.rows, s.k}, 6);
  for (const Precision& precision : kPrecisions) {
    const auto fused = evaluate(
        {dy, w, z}, [](auto& v) { return std::vector{linear_dgrad_gelu(v[0], v[1], v[2])}; }, precision, 3);
    const auto apart = evaluate(
        {dy, w, z}, [](auto& v) { return std::vector{gelu_grad(v[2], linear_dgrad(v[0], v[1]))}; }, precision);
    EXPECT_EQ(fused, apart);
  }
}

TEST_P(Linear, ThreadsChangeNoBit) {
  const Operand x = normal_operand({s.rows, s.k}, 4), w = normal_operand({s.m, s.k}, 5),
                dy = normal_operand({s.rows, s.m}, 6);
  const auto all = [&](auto& v) {
    return std::vector{linear(v[0], v[1], {}), linear_dgrad(v[2], v[1]), linear_wgrad(v[2], v[0], {s.m, s.k})};
  };
  for (const Precision& precision : kPrecisions)
    EXPECT_EQ(evaluate({x, w, dy}, all, precision), evaluate({x, w, dy}, all, precision, 3));
}

INSTANTIATE_TEST_SUITE_P(Shapes, Linear,
                         testing::Values(Sizes{1, 1, 1}, Sizes{5, 9, 13}, Sizes{700, 24, 20}, Sizes{64, 270, 16},
                                         Sizes{1100, 30, 17}, Sizes{20, 1024, 30}, Sizes{20, 30, 1024}),
                         [](const auto& info) {
                           return std::to_string(info.param.rows) + "x" + std::to_string(info.param.m) + "x" +
                                  std::to_string(info.param.k);
                         });

TEST(LinearShapes, AreCheckedWhileBuilding) {
  Graph g;
  const auto in = [&](const char* name, Shape shape) {
    return input(g, name, {DType::kF32, shape}, BufferClass::kActivations);
  };
  EXPECT_THROW(linear(in("a", {4, 16}), in("b", {8, 32}), {}), UserError);
  EXPECT_THROW(linear(in("c", {4, 16}), in("d", {8, 16}), in("e", {9})), UserError);
  EXPECT_THROW(linear_wgrad(in("f", {4, 8}), in("g", {5, 16}), {8, 16}), UserError);
  EXPECT_EQ(linear(in("h", {4, 3, 12}), in("i", {8, 3, 2, 2}), {}).shape(), (Shape{4, 3, 8}));
}

TEST(TiledProduct, TilesCoverEachElementOnce) {
  const MatrixLayout layout{DType::kF64, 30, 1};
  const TiledProduct product({.m = 37, .n = 30, .k = 4, .a = layout, .b = layout, .c = layout}, {16, 7});
  EXPECT_GT(product.tiles(), 3);
  std::vector<int> seen(37 * 30);
  for (int64_t i = 0; i < product.tiles(); ++i) {
    const MatrixTile t = product.tile(i);
    for (int64_t r = t.row; r < t.row + t.rows; ++r)
      for (int64_t c = t.column; c < t.column + t.columns; ++c) ++seen[r * 30 + c];
  }
  EXPECT_EQ(seen, std::vector<int>(37 * 30, 1));
}

TEST(LibraryScope, IsActiveOnlyInside) {
  EXPECT_FALSE(LibraryScope::active());
  {
    const LibraryScope outer;
    { const LibraryScope inner; }
    EXPECT_TRUE(LibraryScope::active());
  }
  EXPECT_FALSE(LibraryScope::active());
}

}  // namespace
}  // namespace shardit

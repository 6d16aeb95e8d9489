#include "ops/vector.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "core/random.h"
#include "ops/gelu.h"
#include "ops/math.h"
#include "ops/small_matmul.h"

namespace shardit {
namespace {

// Values of all sizes and kinds, 16 at a time.
std::vector<float> all_kinds() {
  std::vector<float> x = {0.0f,
                          -0.0f,
                          1.0f,
                          -1.0f,
                          88.72f,
                          88.73f,
                          200.0f,
                          -87.33f,
                          -87.34f,
                          -200.0f,
                          1e-40f,
                          std::numeric_limits<float>::infinity(),
                          -std::numeric_limits<float>::infinity(),
                          std::numeric_limits<float>::quiet_NaN(),
                          3.3895314e38f,
                          1e-30f};
  const Philox philox(5, Purpose::kSynthetic);
  for (uint64_t i = 0; i < 16000; ++i) x.push_back(30.0f * normal_at(philox, 0, i));
  return x;
}

TEST(Vector, ExpHasTheBitsOfTheScalarFunctionUpTo88) {
  const auto x = all_kinds();
  for (size_t i = 0; i < x.size(); i += 16) {
    const Vector<float> y = exp_of(load(&x[i]));
    for (int l = 0; l < 16; ++l) {
      if (std::isnan(x[i + l])) {
        ASSERT_TRUE(std::isnan(y[l]));
      } else if (x[i + l] <= 88) {
        ASSERT_EQ(std::bit_cast<uint32_t>(y[l]), std::bit_cast<uint32_t>(exp_of(x[i + l]))) << x[i + l];
      }
    }
  }
}

TEST(Vector, RoundsToBF16AsTheScalarTypeDoes) {
  const auto x = all_kinds();
  for (size_t i = 0; i < x.size(); i += 16) {
    BF16 y[16];
    store(y, load(&x[i]));
    const Vector<float> back = load(y);
    for (int l = 0; l < 16; ++l) {
      ASSERT_EQ(y[l].bits, BF16(x[i + l]).bits) << x[i + l];
      if (!std::isnan(x[i + l])) {
        ASSERT_EQ(back[l], static_cast<float>(BF16(x[i + l])));
      }
    }
  }
}

TEST(Vector, SumsAndMaximaTakeEveryLane) {
  float powers[16];
  for (int l = 0; l < 16; ++l) powers[l] = std::ldexp(1.0f, l);
  EXPECT_EQ(sum(load(powers)), 65535.0f);
  for (int l = 0; l < 16; ++l) {
    float one[16] = {};
    one[l] = 1;
    EXPECT_EQ(largest_lane(load(one)), 1.0f);
  }
}

TEST(Vector, KeepsTheLanesThatAreAskedFor) {
  float lanes[16];
  for (int l = 0; l < 16; ++l) lanes[l] = static_cast<float>(l + 1);
  for (int n = 0; n <= 16; ++n) {
    const Vector<float> over = where_positive(load(lanes) - float(n), load(lanes));
    for (int l = 0; l < 16; ++l) EXPECT_EQ(over[l], l + 1 > n ? lanes[l] : 0);
  }
  for (int begin = -17; begin <= 17; ++begin)
    for (int end : {begin, begin + 1, begin + 8, begin + 40}) {
      const Vector<float> some = lanes_between(load(lanes), begin, end);
      for (int l = 0; l < 16; ++l) EXPECT_EQ(some[l], l >= begin && l < end ? lanes[l] : 0);
    }
}

template <typename S, typename T> void expect_transposed() {
  constexpr int kLanes = kVectorLanes<S>, kStride = kLanes + 3;
  T from[kLanes * kStride];
  S to[kLanes * kStride] = {};
  for (int i = 0; i < kLanes * kStride; ++i) from[i] = T(static_cast<float>(i % 211));
  transpose_square(from, kStride, to, kStride);
  for (int r = 0; r < kLanes; ++r)
    for (int c = 0; c < kStride; ++c)
      EXPECT_EQ(to[r * kStride + c], c < kLanes ? static_cast<S>(from[c * kStride + r]) : S(0)) << r << ", " << c;
}

TEST(Vector, TransposesSquares) {
  expect_transposed<float, float>();
  expect_transposed<float, BF16>();
  expect_transposed<double, double>();
}

TEST(Math, LogIsGoodToSinglePrecision) {
  const Philox philox(6, Purpose::kSynthetic);
  for (uint64_t i = 0; i < 10000; ++i) {
    const float x = std::exp(10 * normal_at(philox, 0, i));
    ASSERT_NEAR(log_of(x), std::log(static_cast<double>(x)),
                1.5e-7 * std::max(1.0, std::fabs(std::log(static_cast<double>(x)))))
        << x;
  }
  EXPECT_EQ(log_of(1.0f), 0.0f);
}

TEST(Math, Exp2IsGoodToSinglePrecision) {
  const Philox philox(6, Purpose::kSynthetic);
  for (uint64_t i = 0; i < 10000; ++i) {
    const float x = std::clamp(40 * normal_at(philox, 1, i), -126.0f, 126.0f);
    const double expected = std::exp2(static_cast<double>(x));
    ASSERT_NEAR(exp2_in_range(x), expected, 1.5e-7 * expected) << x;
  }
  EXPECT_EQ(exp2_in_range(1000.0f), std::ldexp(1.0f, 126));
  EXPECT_EQ(exp2_in_range(-INFINITY), std::ldexp(1.0f, -126));
  for (int k : {-126, -1, 0, 1, 126}) EXPECT_EQ(exp2_in_range(static_cast<float>(k)), std::ldexp(1.0f, k));
  EXPECT_EQ(exp2_in_range(NAN), std::ldexp(1.0f, -126));
}

// The exponent, up to 36 there, is rounded; its error is e's relative one. The slope passes through 0: two steps of 1.
TEST(Gelu, KeepsItsDigitsWhereItIsSmall) {
  for (float x = -6; x < 6; x += 1.0f / 512) {
    const double value = gelu_of(static_cast<double>(x)), slope = gelu_slope(static_cast<double>(x));
    ASSERT_NEAR(gelu_of(x), value, 4e-6 * std::fabs(value)) << x;
    ASSERT_NEAR(gelu_slope(x), slope, 4e-6 * std::fabs(slope) + 2e-7) << x;
  }
  for (float x : {20.0f, 1e5f}) {
    EXPECT_EQ(gelu_of(x), x);
    EXPECT_NEAR(gelu_of(-x), 0, 1e-20);
    EXPECT_EQ(gelu_slope(x), 1);
    EXPECT_NEAR(gelu_slope(-x), 0, 1e-20);
  }
  EXPECT_TRUE(std::isnan(gelu_of(NAN)) && std::isnan(gelu_slope(NAN)));
}

TEST(SmallMatmul, MultipliesAndTransposesExactly) {
  for (int64_t rows : {1, 7, 49})
    for (int64_t columns : {1, 16, 50, 112})
      for (int64_t inner : {1, 9, 33}) {
        const int64_t stride = padded_stride(columns), inner_stride = padded_stride(inner);
        std::vector<float> a(whole_vectors(rows) * inner_stride), at(whole_vectors(inner) * padded_stride(rows)),
            b(inner * stride + 32), c(rows * stride + 32), ct(c);
        for (int64_t r = 0; r < rows; ++r)
          for (int64_t k = 0; k < inner; ++k) a[r * inner_stride + k] = static_cast<float>((r * 5 + k * 3) % 7 - 3);
        for (int64_t k = 0; k < inner; ++k)
          for (int64_t j = 0; j < columns; ++j) b[k * stride + j] = static_cast<float>((j + 2 * k) % 5 - 2);
        RowsAhead nothing(1, 0);
        multiply<float>(rows, columns, inner, {a.data(), inner_stride, 1}, {b.data(), stride}, {c.data(), stride},
                        false, nothing);
        transpose<float>(whole_vectors(rows), whole_vectors(inner), {a.data(), inner_stride},
                         {at.data(), padded_stride(rows)});
        multiply<float>(rows, columns, inner, {at.data(), 1, padded_stride(rows)}, {b.data(), stride},
                        {ct.data(), stride}, false, nothing);
        multiply<float>(rows, columns, inner, {at.data(), 1, padded_stride(rows)}, {b.data(), stride},
                        {ct.data(), stride}, true, nothing);
        for (int64_t r = 0; r < rows; ++r)
          for (int64_t j = 0; j < columns; ++j) {
            float sum = 0;
            for (int64_t k = 0; k < inner; ++k) sum += a[r * inner_stride + k] * b[k * stride + j];
            ASSERT_EQ(c[r * stride + j], sum);
            ASSERT_EQ(ct[r * stride + j], 2 * sum);
          }
      }
}

}  // namespace
}  // namespace shardit

#include "core/random.h"

#include <gtest/gtest.h>

#include <cmath>

namespace shardit {
namespace {

// Known-answer vectors of Philox4x32-10, published with Random123 (kat_vectors).
TEST(Philox, MatchesPublishedVectors) {
  const auto zero = Philox::rounds(0, 0, 0, 0, 0, 0);
  EXPECT_EQ(zero.word[0], 0x6627e8d5u);
  EXPECT_EQ(zero.word[1], 0xe169c58du);
  EXPECT_EQ(zero.word[2], 0xbc57ac4cu);
  EXPECT_EQ(zero.word[3], 0x9b00dbd8u);
  const auto pi = Philox::rounds(0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0);
  EXPECT_EQ(pi.word[0], 0xd16cfe09u);
  EXPECT_EQ(pi.word[1], 0x94fdccebu);
  EXPECT_EQ(pi.word[2], 0x5001e420u);
  EXPECT_EQ(pi.word[3], 0x24126ea1u);
}

TEST(Random, PurposesAndItemsAreUnrelated) {
  const Philox noise(7, Purpose::kNoise), time(7, Purpose::kTime);
  EXPECT_NE(bits_at(noise, 3, 0), bits_at(time, 3, 0));
  EXPECT_NE(bits_at(noise, 3, 0), bits_at(noise, 4, 0));
  EXPECT_NE(bits_at(noise, 3, 0), bits_at(noise, 3, 0, 1));
}

TEST(Random, UniformStaysInsideTheOpenInterval) {
  EXPECT_GT(uniform_from_bits(0), 0.0f);
  EXPECT_LT(uniform_from_bits(0xffffffffu), 1.0f);
  EXPECT_EQ(uniform_from_bits(0x80000000u), 0.5f + 0x1p-24f);
}

// 2 ulp of the result, 2.4e-7 relative; near 1 the error is relative to the series term 0.1.
TEST(Random, PortableLogIsWithinTwoUlp) {
  for (float x = 1e-30f; x < 1e30f; x *= 1.0137f)
    EXPECT_NEAR(portable_log(x), std::log(static_cast<double>(x)),
                2.4e-7 * std::max(0.1, std::fabs(std::log(double(x)))))
        << x;
}

double normal_cdf(double z) { return 0.5 * std::erfc(-z / std::sqrt(2.0)); }

// The quantile is inverted in double: the stated single-precision error of the polynomials is 3e-7 relative in z.
TEST(Random, NormalIsTheInverseCdf) {
  for (uint64_t b = 0; b <= 0xffffffffull; b += 0x3ffff1ull) {
    const double z = normal_from_bits(static_cast<uint32_t>(b)), p = uniform_from_bits(static_cast<uint32_t>(b));
    const double density = std::exp(-z * z / 2) / std::sqrt(2 * M_PI);
    EXPECT_NEAR((normal_cdf(z) - p) / density, 0.0, 2e-6 * std::max(1.0, std::fabs(z))) << z;
  }
  EXPECT_LT(normal_from_bits(0), -5.29f);
  EXPECT_EQ(normal_from_bits(0xffffffffu), -normal_from_bits(0));
}

TEST(Random, NormalHasUnitMoments) {
  const Philox philox(1, Purpose::kNoise);
  const int n = 400000;
  double m1 = 0, m2 = 0, m4 = 0;
  for (int i = 0; i < n; ++i) {
    const double z = normal_at(philox, 5, i);
    m1 += z / n, m2 += z * z / n, m4 += z * z * z * z / n;
  }
  // Four standard errors: 1/sqrt(n), sqrt(2/n), sqrt(96/n).
  EXPECT_NEAR(m1, 0, 4 / std::sqrt(n));
  EXPECT_NEAR(m2, 1, 4 * std::sqrt(2.0 / n));
  EXPECT_NEAR(m4, 3, 4 * std::sqrt(96.0 / n));
}

TEST(Random, IntegersCoverTheirRange) {
  const Philox philox(1, Purpose::kTime);
  int counts[7] = {};
  for (int i = 0; i < 7000; ++i) ++counts[integer_at(philox, i, 0, 7)];
  for (int c : counts) EXPECT_NEAR(c, 1000, 4 * std::sqrt(1000.0));
}

}  // namespace
}  // namespace shardit

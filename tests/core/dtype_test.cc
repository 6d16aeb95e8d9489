#include "core/dtype.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace shardit {
namespace {

TEST(BF16, RoundsToNearestEven) {
  EXPECT_EQ(BF16(1.0f).bits, 0x3f80);
  EXPECT_EQ(BF16(1.00390625f).bits, 0x3f80);  // half way: to even
  EXPECT_EQ(BF16(1.01171875f).bits, 0x3f82);  // half way: to even, upwards
  EXPECT_EQ(float(BF16(3.4e38f)), std::numeric_limits<float>::infinity());
  EXPECT_TRUE(std::isnan(float(BF16(std::nanf("")))));
}

TEST(F16, EveryValueSurvivesTheRoundTrip) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    F16 h;
    h.bits = static_cast<uint16_t>(bits);
    const float f = h;
    if (std::isnan(f))
      EXPECT_TRUE(std::isnan(float(F16(f))));
    else
      EXPECT_EQ(F16(f).bits, bits);
  }
}

TEST(F16, MatchesTheCompilersConversion) {
  for (float f : {1.0f / 3, 65519.0f, 65520.0f, 1e-7f, 2.9802322e-08f, 2.9802326e-08f, 6.0975552e-5f, -0.1f}) {
    const _Float16 expected = static_cast<_Float16>(f);
    uint16_t bits;
    std::memcpy(&bits, &expected, 2);
    EXPECT_EQ(F16(f).bits, bits) << f;
  }
}

}  // namespace
}  // namespace shardit

#include "launcher/link.h"

#include <gtest/gtest.h>

#include <vector>

namespace shardit {
namespace {

std::vector<Transfer> timed(const Link& link, double factor_of_every_other = 1) {
  std::vector<Transfer> points;
  for (double bytes = 1 << 10; bytes <= 1 << 26; bytes *= 4)
    points.push_back(
        {.steps = 3, .bytes = bytes, .us = link.us(3, bytes) * (points.size() % 2 ? factor_of_every_other : 1)});
  return points;
}

TEST(Link, TakesTheTimeOfItsStepsAndOfItsBytes) {
  EXPECT_DOUBLE_EQ((Link{.step_us = 2, .gb_per_s = 0.5}).us(3, 1000), 6 + 2);
}

TEST(Link, IsFoundAgainFromExactTimes) {
  const Link truth{.step_us = 4, .gb_per_s = 2}, found = fit_link(timed(truth));
  EXPECT_NEAR(found.step_us, truth.step_us, 1e-9);
  EXPECT_NEAR(found.gb_per_s, truth.gb_per_s, 1e-9);
  EXPECT_NEAR(mean_error(found, timed(truth)), 0, 1e-9);
}

// A fit of absolute errors would see the largest sizes only, and miss the latency by far more than the noise.
TEST(Link, SmallSizesCountAsMuchAsLarge) {
  const Link truth{.step_us = 4, .gb_per_s = 2}, found = fit_link(timed(truth, 1.2));
  EXPECT_NEAR(found.step_us, truth.step_us, 0.2 * truth.step_us);
  EXPECT_NEAR(found.gb_per_s, truth.gb_per_s, 0.2 * truth.gb_per_s);
}

TEST(Link, NeverHasANegativeLatency) {
  const Link found = fit_link(std::vector<Transfer>{{1, 1000, 1}, {1, 10000, 20}});
  EXPECT_EQ(found.step_us, 0);
  EXPECT_GT(found.gb_per_s, 0);
}

TEST(Link, NeverGoesBackInTime) {
  const Link found = fit_link(std::vector<Transfer>{{1, 1000, 20}, {1, 10000, 10}});
  EXPECT_GT(found.step_us, 0);
  EXPECT_GT(found.us(0, 1e6), 0);
}

}  // namespace
}  // namespace shardit

#include <cmath>

#include "core/error.h"
#include "tests/ops/case.h"

namespace shardit {
namespace {

TEST(Guide, MovesTheFirstChannelsAndKeepsTheConditionalOthers) {
  Case c;
  c.out("y", guide(c.in("x", {DType::kF32, {4, 2, 3}}), c.in("s", {DType::kF32, {2}}), 2));
  c.compile();
  c.set("x", std::vector<float>{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3});
  c.set("s", std::vector<float>{2, 0});
  c.run();
  EXPECT_EQ(c.get<float>("y"), (std::vector<float>{2, 4, 3, 7, 9, 6, 2, 2, 9, 3, 3, 12}));
}

TEST(Guide, ScaleOneIsTheConditionalOutput) {
  Case c;
  c.out("y", guide(c.in("x", {DType::kF32, {2, 8}}), c.in("s", {DType::kF32, {1}}), 3));
  c.compile();
  const std::vector<float> x = {1, 2, 3, 4, 5, 6, 7, 8, 8, 7, 6, 5, 4, 3, 2, 1};
  c.set("x", x);
  c.set("s", std::vector<float>{1});
  c.run();
  EXPECT_EQ(c.get<float>("y"), std::vector<float>(x.begin(), x.begin() + 8));
}

TEST(Guide, MoreChannelsThanThereAreIsAnError) {
  Case c;
  const Value x = c.in("x", {DType::kF32, {2, 8}}), s = c.in("s", {DType::kF32, {1}});
  EXPECT_THROW(guide(x, s, 9), UserError);
}

TEST(LearnedNoise, InterpolatesTheLogVariance) {
  Case c;
  const Type three = {DType::kF32, {3}};
  c.out("y", learned_noise(c.in("v", three), c.in("z", three), c.in("bounds", {DType::kF64, {3}})));
  c.compile();
  c.set("v", std::vector<float>{-1, 1, 0});
  c.set("z", std::vector<float>{2, -1, 1});
  const double lower = std::log(0.25), upper = std::log(4.0);
  c.set("bounds", std::vector<double>{lower, upper, 1});
  c.run();
  EXPECT_EQ(c.get<float>("y"), (std::vector<float>{1, -2, 1}));
  c.set("bounds", std::vector<double>{lower, upper, 0});
  c.set("z", std::vector<float>{INFINITY, 1, 1});
  c.run();
  EXPECT_EQ(c.get<float>("y"), (std::vector<float>{0, 0, 0}));
}

}  // namespace
}  // namespace shardit

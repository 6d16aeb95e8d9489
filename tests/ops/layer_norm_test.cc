#include <cmath>

#include "tests/ops/case.h"

namespace shardit {
namespace {

// Rows of tiny, usual and no variance: only where epsilon is added can tell them apart.
TEST(LayerNorm, EpsilonIsAddedToTheVariance) {
  Case c;
  const auto y = layer_norm(c.in("x", {DType::kF32, {3, 4}}), 1e-6);
  c.out("y", y[0]), c.out("mean", y[1]), c.out("rstd", y[2]);
  c.compile();
  c.set("x", std::vector<float>{1e-3f, -1e-3f, 1e-3f, -1e-3f, 3, 1, 3, 1, 5, 5, 5, 5});
  c.run();
  EXPECT_EQ(c.get<float>("mean"), (std::vector<float>{0, 2, 5}));
  const auto rstd = c.get<float>("rstd"), out = c.get<float>("y");
  EXPECT_NEAR(rstd[0], 1 / std::sqrt(2e-6), 1e-3);  // fp32: 707 is good to 6e-5
  EXPECT_NEAR(rstd[1], 1 / std::sqrt(1 + 1e-6), 1e-7);
  EXPECT_NEAR(rstd[2], 1e3, 1e-3);
  EXPECT_NEAR(out[0], std::sqrt(0.5), 1e-6);
  EXPECT_EQ(out[8], 0);
}

}  // namespace
}  // namespace shardit

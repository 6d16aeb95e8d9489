#include <cmath>

#include "tests/ops/case.h"

namespace shardit {
namespace {

TEST(Loss, MeanSquaredErrorIsExactToSinglePrecision) {
  const int64_t n = 5000;  // blocks of 1024 with a tail
  Case c;
  const Value x = c.in("x", {DType::kF32, {2, n}}), y = c.in("y", {DType::kF32, {2, n}});
  c.out("loss", mean_squared_error(x, y));
  c.out("total", weighted_sum(mean_squared_error(x, y), 0.25));
  c.compile(2);
  const auto a = normals(1, 2 * n), b = normals(2, 2 * n, 1000);
  c.set("x", a);
  c.set("y", b);
  c.run();
  double total = 0;
  for (int image = 0; image < 2; ++image) {
    double sum = 0;
    for (int64_t i = image * n; i < (image + 1) * n; ++i) sum += (double(a[i]) - b[i]) * (double(a[i]) - b[i]);
    EXPECT_NEAR(c.get<float>("loss")[image], sum / n, 1e-7 * sum / n);
    total += 0.25 * sum / n;
  }
  EXPECT_NEAR(c.get<float>("total")[0], total, 2e-7 * total);
}

// Karras et al. 2022, table 1, at sigma = sigma_data: c_skip 1/2, c_out = c_in^-1 / 2, weight 2 / sigma_data^2.
TEST(NoiseLevel, EdmCoefficientsAreThoseOfThePaper) {
  Case c;
  const auto e = edm_coefficients(c.in("sigma", {DType::kF32, {2}}), 0.5);
  const char* names[] = {"skip", "out", "in", "noise", "weight"};
  for (int i = 0; i < 5; ++i) c.out(names[i], e[i]);
  c.compile();
  c.set("sigma", std::vector<float>{0.5f, 1.0f});
  c.run();
  EXPECT_EQ(c.get<float>("skip"), (std::vector<float>{0.5f, 0.2f}));
  EXPECT_EQ(c.get<float>("out"), (std::vector<float>{float(0.25 / std::sqrt(0.5)), float(0.5 / std::sqrt(1.25))}));
  EXPECT_EQ(c.get<float>("in"), (std::vector<float>{float(1 / std::sqrt(0.5)), float(1 / std::sqrt(1.25))}));
  EXPECT_EQ(c.get<float>("noise"), (std::vector<float>{float(std::log(0.5) / 4), 0.0f}));
  EXPECT_EQ(c.get<float>("weight"), (std::vector<float>{8.0f, 5.0f}));
}

TEST(Factors, CombineSumsInDoubleAndKeepsTheFirstsType) {
  Case c;
  const Value f = c.in("f", {DType::kF64, {3}}), x = c.in("x", {DType::kF64, {2}}), y = c.in("y", {DType::kF32, {2}});
  c.out("double", combine(f, {x, y, x}));
  c.out("single", combine(f, {y, x, y}));
  c.compile();
  c.set("f", std::vector<double>{1.0, 0x1p-40, 1.0});
  c.set("x", std::vector<double>{1.0 + 0x1p-50, 2.0});
  c.set("y", std::vector<float>{1.0f, -1.0f});
  c.run();
  EXPECT_EQ(c.get<double>("double"), (std::vector<double>{2.0 + 0x1p-49 + 0x1p-40, 4.0 - 0x1p-40}));
  EXPECT_EQ(c.get<float>("single"), (std::vector<float>{2.0f, -2.0f}));
}

}  // namespace
}  // namespace shardit

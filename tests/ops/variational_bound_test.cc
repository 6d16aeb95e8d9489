#include <cmath>

#include "ops/differentiate.h"
#include "tests/ops/case.h"

namespace shardit {
namespace {

// The DDPM process with linear betas, as it is written in the papers, in fp64.
struct Ddpm {
  static constexpr int T = 1000;
  std::vector<double> beta = std::vector<double>(T), abar = beta, abar_before = beta;

  Ddpm() {
    for (int t = 0; t < T; ++t) {
      beta[t] = 1e-4 + (0.02 - 1e-4) * t / (T - 1);
      abar_before[t] = t == 0 ? 1 : abar[t - 1];
      abar[t] = abar_before[t] * (1 - beta[t]);
    }
  }
  double posterior_variance(int t) const { return beta[t] * (1 - abar_before[t]) / (1 - abar[t]); }
  double posterior_log_variance(int t) const { return std::log(posterior_variance(t == 0 ? 1 : t)); }
  double mean(int t, double x0, double xt) const {
    return beta[t] * std::sqrt(abar_before[t]) / (1 - abar[t]) * x0 +
           (1 - abar_before[t]) * std::sqrt(1 - beta[t]) / (1 - abar[t]) * xt;
  }
  std::vector<double> table() const {
    std::vector<double> rows(T * kScheduleColumns);
    for (int t = 0; t < T; ++t) {
      double* row = &rows[t * kScheduleColumns];
      row[kSqrtRecipAbar] = std::sqrt(1 / abar[t]);
      row[kSqrtRecipm1Abar] = std::sqrt(1 / abar[t] - 1);
      row[kPosteriorMeanX0] = mean(t, 1, 0);
      row[kPosteriorMeanXt] = mean(t, 0, 1);
      row[kPosteriorLogVariance] = posterior_log_variance(t);
      row[kLogBeta] = std::log(beta[t]);
    }
    return rows;
  }
};

double cdf(double x) { return 0.5 * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x))); }

// One element in bits, straight from the definitions.
double bits(const Ddpm& d, int t, double eps, double v, double x0, double xt) {
  const double f = (v + 1) / 2, log_var = f * std::log(d.beta[t]) + (1 - f) * d.posterior_log_variance(t);
  const double pred = std::sqrt(1 / d.abar[t]) * xt - std::sqrt(1 / d.abar[t] - 1) * eps;
  const double mean = d.mean(t, pred, xt), true_mean = d.mean(t, x0, xt), true_log_var = d.posterior_log_variance(t);
  if (t > 0) {
    const double gap = true_mean - mean;
    return 0.5 * (-1 + log_var - true_log_var + std::exp(true_log_var - log_var) + gap * gap * std::exp(-log_var)) /
           std::log(2.0);
  }
  const double s = std::exp(-0.5 * log_var), above = cdf(s * (x0 - mean + 1.0 / 255)),
               below = cdf(s * (x0 - mean - 1.0 / 255));
  const double p = x0 < -0.999 ? above : x0 > 0.999 ? 1 - below : above - below;
  return -std::log(std::max(p, 1e-12)) / std::log(2.0);
}

struct Batch {
  int64_t B, n;
  std::vector<int64_t> t;
  std::vector<double> x0, eps, v, xt;
};

// Noised images and a prediction of the noise that is off by about a tenth; x0 reaches both edge bins.
Batch make_batch(const Ddpm& d, std::vector<int64_t> steps, int64_t n) {
  Batch b{static_cast<int64_t>(steps.size()), n, std::move(steps), {}, {}, {}, {}};
  const auto z = normals(1, b.B * n), x = normals(2, b.B * n), error = normals(3, b.B * n), v = normals(4, b.B * n);
  for (int64_t i = 0; i < b.B * n; ++i) {
    const double abar = d.abar[b.t[i / n]];
    b.x0.push_back(std::clamp<double>(x[i], -1, 1));
    b.xt.push_back(std::sqrt(abar) * b.x0[i] + std::sqrt(1 - abar) * z[i]);
    b.eps.push_back(z[i] + 0.1 * error[i]);
    b.v.push_back(v[i]);
  }
  return b;
}

template <typename T> std::vector<T> in_type(const std::vector<double>& x) {
  return std::vector<T>(x.begin(), x.end());
}

template <typename T> std::vector<T> run_bound(const Ddpm& d, const Batch& b) {
  const DType real = DTypeOf<T>::value;
  Case c(real);
  std::vector<Value> in;
  for (const char* name : {"eps", "v", "x0", "xt"}) in.push_back(c.in(name, {real, {b.B, 1, 1, b.n}}));
  const Value t = c.in("t", {DType::kI64, {b.B}}),
              schedule = reshape(table(c.graph, "ddpm", d.table()), {Ddpm::T, kScheduleColumns});
  c.out("bits", variational_bound(in[0], in[1], in[2], in[3], t, schedule));
  c.compile();
  c.set("eps", in_type<T>(b.eps));
  c.set("v", in_type<T>(b.v));
  c.set("x0", in_type<T>(b.x0));
  c.set("xt", in_type<T>(b.xt));
  c.set("t", b.t);
  c.run();
  return c.get<T>("bits");
}

double expected_bits(const Ddpm& d, const Batch& b, int64_t image) {
  double sum = 0;
  for (int64_t i = image * b.n; i < (image + 1) * b.n; ++i)
    sum += bits(d, static_cast<int>(b.t[image]), b.eps[i], b.v[i], b.x0[i], b.xt[i]);
  return sum / static_cast<double>(b.n);
}

TEST(VariationalBound, IsTheDefinitionInDouble) {
  const Ddpm d;
  const Batch b = make_batch(d, {0, 1, 2, 250, 999, 0}, 300);
  const auto result = run_bound<double>(d, b);
  for (int64_t i = 0; i < b.B; ++i)
    EXPECT_NEAR(result[i], expected_bits(d, b, i), 1e-9 * expected_bits(d, b, i)) << b.t[i];
}

// fp32 inputs: xt and eps are rounded to 6e-8 before x0 is predicted, which at t = 0 is 6e-8 / 0.0074 of a deviation
// and at t = 999 is multiplied by sqrt(1/abar) = 157 in both x0 and its error.
TEST(VariationalBound, SinglePrecisionIsNearTheDefinition) {
  const Ddpm d;
  const Batch b = make_batch(d, {0, 1, 2, 250, 999, 0}, 300);
  const auto result = run_bound<float>(d, b);
  for (int64_t i = 0; i < b.B; ++i)
    EXPECT_NEAR(result[i], expected_bits(d, b, i), 1e-4 * expected_bits(d, b, i) + 1e-6) << b.t[i];
}

// Each case is one image: an inner bin, both edges, and a prediction so far off that the clamp holds.
TEST(VariationalBound, EdgeBinsAndTheClampHoldAtTheLastStep) {
  const Ddpm d;
  const std::vector<double> x0 = {0.3, -0.9995, 0.9995, 0.3, -0.998, 0.998};
  Batch b{6, 1, std::vector<int64_t>(6, 0), x0, {}, std::vector<double>(6, 0.2), {}};
  for (int i = 0; i < 6; ++i) {
    b.eps.push_back(i == 3 ? 100 : 0.5);
    b.xt.push_back(std::sqrt(d.abar[0]) * x0[i] + 0.01 * 0.9);
  }
  const auto result = run_bound<double>(d, b);
  for (int64_t i = 0; i < 6; ++i) EXPECT_NEAR(result[i], expected_bits(d, b, i), 1e-9) << i;
  EXPECT_NEAR(result[3], 12 * std::log2(10.0), 1e-9);
  EXPECT_LT(result[1], result[4]) << "the edge bin takes the whole tail";
}

TEST(VariationalBound, OnlyTheVarianceGetsAGradient) {
  const Ddpm d;
  Case c;
  const Type image = {DType::kF32, {1, 1, 1, 2}};
  const Value eps = c.in("eps", image), v = c.in("v", image), x = c.in("x", image);
  const Value schedule = reshape(table(c.graph, "ddpm", d.table()), {Ddpm::T, kScheduleColumns});
  const Value loss = weighted_sum(variational_bound(eps, v, x, x, c.in("t", {DType::kI64, {1}}), schedule), 1);
  EXPECT_NO_THROW(differentiate(c.graph, loss, {v}));
  EXPECT_ANY_THROW(differentiate(c.graph, loss, {eps}));
}

}  // namespace
}  // namespace shardit

// The losses as a whole: gradients of every weight against finite differences in fp64, and formulas against plain
// loops.
#include "model/process.h"

#include <gtest/gtest.h>

#include <cmath>

#include "model/ddpm_schedule.h"
#include "ops/differentiate.h"
#include "tests/model/harness.h"

namespace shardit {
namespace {

using test::kTiny;
using test::Runner;

constexpr int64_t kBatch = 2;

struct LossGraph {
  Graph graph{DType::kF64};
  DiffitConfig config;
  Layout layout;

  LossGraph(const Process& process, const DiffitConfig& c) : config(c), layout(diffit_layout(c)) {
    const Shape image{kBatch, c.input_size, c.input_size, c.in_channels};
    const auto real = [&](const std::string& name, Shape shape) {
      return input(graph, name, {DType::kF64, shape}, BufferClass::kActivations);
    };
    const Value x0 = real("x0", image), noise = real("noise", image);
    const Value y = input(graph, "y", {DType::kI64, {kBatch}}, BufferClass::kActivations);
    const Value time = process.time_dtype() == DType::kI64
                           ? input(graph, "time", {DType::kI64, {kBatch}}, BufferClass::kActivations)
                           : real("time", {kBatch});
    const Parameters weights(graph, layout, "master");
    const Loss loss =
        process.loss([&](Value a, Value b, Value l) { return diffit(weights, config, a, b, l); }, x0, time, noise, y);
    const Value total = weighted_sum(loss.per_image, 1.0 / kBatch);
    graph.name_output(total, "loss");
    const auto gradients = differentiate(graph, total, weights.units());
    for (size_t u = 0; u < gradients.size(); ++u) graph.name_output(gradients[u], "grad." + layout.units[u].name);
  }

  void fill(Runner& runner) const {
    test::fill_weights<double>(layout, runner);
    const Philox philox(8, Purpose::kSynthetic);
    const int64_t n = kBatch * config.input_size * config.input_size * config.in_channels;
    for (int64_t i = 0; i < n; ++i) {
      runner.f64("x0")[i] = 0.5 * static_cast<double>(normal_at(philox, 0, static_cast<uint64_t>(i)));
      runner.f64("noise")[i] = static_cast<double>(normal_at(philox, 1, static_cast<uint64_t>(i)));
    }
    for (int64_t b = 0; b < kBatch; ++b) runner.i64("y")[b] = b == 0 ? 1 : config.num_classes;
  }
};

void expect_gradients_match(LossGraph& g, Runner& runner) {
  runner.run();
  std::map<std::string, std::vector<double>> gradients;
  for (const Unit& unit : g.layout.units) gradients[unit.name] = runner.get("grad." + unit.name);
  for (const Unit& unit : g.layout.units)
    for (const Param& p : unit.params)
      for (int64_t i = 0; i < p.numel(); i += std::max<int64_t>(1, p.numel() / 3)) {
        double& w = runner.f64("master." + unit.name)[p.offset() + i];
        const double old = w, h = 1e-5;
        w = old + h;
        runner.run();
        const double above = runner.get("loss")[0];
        w = old - h;
        runner.run();
        const double below = runner.get("loss")[0];
        w = old;
        const double expected = (above - below) / (2 * h), given = gradients[unit.name][p.offset() + i];
        // Truncation of the difference is 1e-10 of the third derivative; the loss is of order 10.
        EXPECT_NEAR(given, expected, 1e-6 * std::max(1.0, std::fabs(expected))) << p.name << " element " << i;
      }
}

// Without the variational term: it is stopped at the predicted noise, so its gradient is not that of its value. The
// sweep checks that term by itself.
TEST(DdpmLoss, GradientOfEveryTensorMatchesFiniteDifferences) {
  DiffitConfig config = kTiny;
  config.learn_sigma = false;
  const auto process = make_ddpm({.channels = config.in_channels, .learn_sigma = false});
  LossGraph g(*process, config);
  Runner runner(g.graph);
  g.fill(runner);
  runner.i64("time")[0] = 0;
  runner.i64("time")[1] = 437;
  expect_gradients_match(g, runner);
}

TEST(EdmLoss, GradientOfEveryTensorMatchesFiniteDifferences) {
  DiffitConfig config = kTiny;
  config.learn_sigma = false;
  const auto process = make_edm({});
  LossGraph g(*process, config);
  Runner runner(g.graph);
  g.fill(runner);
  runner.f64("time")[0] = 0.3;
  runner.f64("time")[1] = 2.0;
  expect_gradients_match(g, runner);
}

// Karras et al. 2022, table 1, evaluated by hand for one pixel.
TEST(EdmLoss, IsTheWeightedSquareOfTheDenoisingError) {
  const auto process = make_edm({});
  Graph graph(DType::kF64);
  const Value x0 = input(graph, "x0", {DType::kF64, {1, 1, 1, 1}}, BufferClass::kActivations);
  const Value noise = input(graph, "noise", {DType::kF64, {1, 1, 1, 1}}, BufferClass::kActivations);
  const Value sigma = input(graph, "sigma", {DType::kF64, {1}}, BufferClass::kActivations);
  const Value y = input(graph, "y", {DType::kI64, {1}}, BufferClass::kActivations);
  // The "network" F(x, c_noise) = x.
  const Loss loss = process->loss([](Value x, Value, Value) { return x; }, x0, sigma, noise, y);
  graph.name_output(loss.per_image, "loss");
  Runner runner(graph);
  const double s = 0.7, clean = 0.4, n = -1.3, d = 0.5, x = clean + s * n;
  runner.f64("x0")[0] = clean, runner.f64("noise")[0] = n, runner.f64("sigma")[0] = s;
  runner.run();
  const double skip = d * d / (s * s + d * d), out = s * d / std::sqrt(s * s + d * d),
               in = 1 / std::sqrt(s * s + d * d);
  const double denoised = skip * x + out * (in * x);
  EXPECT_NEAR(runner.get("loss")[0], (s * s + d * d) / (s * s * d * d) * std::pow(denoised - clean, 2), 1e-12);
}

TEST(Process, TimesAreSpreadByQuantile) {
  EXPECT_EQ(make_ddpm({})->time_at(0.2504), 250);
  EXPECT_NEAR(make_edm({})->time_at(0.5), std::exp(-1.2), 1e-6);
}

}  // namespace
}  // namespace shardit

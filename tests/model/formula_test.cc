// The network and DDPM's loss against their formulas in plain loops of doubles, written from the paper and not from the
// graph: every residual, norm, axis and constant of them counts.
#include <gtest/gtest.h>

#include <cmath>

#include "model/ddpm_schedule.h"
#include "model/process.h"
#include "ops/differentiate.h"
#include "tests/model/harness.h"

namespace shardit {
namespace {

using test::kTiny;
using test::Runner;
using Vec = std::vector<double>;

// DiffiT of one image (Hatamizadeh et al. 2024, eq. 3-8), token by token.
class Reference {
 public:
  Reference(Runner& runner, const DiffitConfig& config) : runner_(runner), c_(config), layout_(diffit_layout(config)) {}

  Vec operator()(const double* x, int64_t t, int64_t y) {
    const int64_t w = c_.grid(), p = c_.patch_size, S = c_.input_size, ch = c_.in_channels;
    for (int64_t n = 0; n < w * w; ++n) {
      Vec patch;
      for (int64_t k = 0; k < ch; ++k)
        for (int64_t row = 0; row < p; ++row)
          for (int64_t col = 0; col < p; ++col) patch.push_back(x[((n / w * p + row) * S + n % w * p + col) * ch + k]);
      tokens_.push_back(linear("x_embedder.proj", patch));
      for (int64_t i = 0; i < c_.hidden_size; ++i) tokens_[n][i] += position_value(n, i, w, c_.hidden_size);
    }
    const Vec c = condition(static_cast<double>(t), y);
    for (int64_t b = 0; b < c_.depth; ++b) block("blocks." + std::to_string(b), c);
    Vec out(S * S * c_.out_channels());
    for (int64_t n = 0; n < w * w; ++n) {
      const Vec pixels = linear("final_layer.linear", map(norm(tokens_[n]), silu));
      for (int64_t row = 0; row < p; ++row)
        for (int64_t i = 0; i < p * c_.out_channels(); ++i)
          out[((n / w * p + row) * S + n % w * p) * c_.out_channels() + i] = pixels[row * p * c_.out_channels() + i];
    }
    return out;
  }

 private:
  static double silu(double x) { return x / (1 + std::exp(-x)); }
  static double gelu(double x) { return x / 2 * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x))); }
  static Vec map(Vec x, double (*f)(double)) {
    for (double& v : x) v = f(v);
    return x;
  }

  const double* weight(const std::string& name) {
    for (const Unit& unit : layout_.units)
      for (const Param& p : unit.params)
        if (p.name == name) return runner_.f64("master." + unit.name) + p.offset();
    ADD_FAILURE() << name;
    return nullptr;
  }

  Vec linear(const std::string& name, const Vec& x) {
    const double *w = weight(name + ".weight"), *b = weight(name + ".bias");
    Vec y(static_cast<size_t>(layout_.find(name + ".bias")->numel()));
    for (size_t i = 0; i < y.size(); ++i) {
      y[i] = b[i];
      for (size_t k = 0; k < x.size(); ++k) y[i] += w[i * x.size() + k] * x[k];
    }
    return y;
  }

  static Vec norm(Vec x) {
    double mean = 0, variance = 0;
    for (double v : x) mean += v / static_cast<double>(x.size());
    for (double v : x) variance += (v - mean) * (v - mean) / static_cast<double>(x.size());
    for (double& v : x) v = (v - mean) / std::sqrt(variance + 1e-6);
    return x;
  }

  Vec condition(double t, int64_t y) {
    Vec waves(256);
    for (int i = 0; i < 128; ++i) {
      waves[i] = std::cos(t * std::pow(10000, -i / 128.0));
      waves[128 + i] = std::sin(t * std::pow(10000, -i / 128.0));
    }
    Vec c = linear("t_embedder.mlp.2", map(linear("t_embedder.mlp.0", waves), silu));
    for (size_t i = 0; i < c.size(); ++i)
      c[i] += weight("y_embedder.embedding_table.weight")[y * c_.hidden_size + static_cast<int64_t>(i)];
    return c;
  }

  void block(const std::string& name, const Vec& c) {
    const int64_t w = c_.grid(), N = w * w, C = c_.hidden_size, D = C / c_.num_heads;
    const Vec time = linear(name + ".attn.qkv_temb", c);
    std::vector<Vec> qkv;
    for (const Vec& x : tokens_) {
      qkv.push_back(linear(name + ".attn.qkv", norm(x)));
      for (int64_t i = 0; i < 3 * C; ++i) qkv.back()[i] += time[i];  // q, k and v (eq. 3-5)
    }
    const double* bias = weight(name + ".attn.relative_position_bias_table");
    for (int64_t i = 0; i < N; ++i) {
      Vec out(C);
      for (int64_t h = 0; h < c_.num_heads; ++h) {
        Vec p(N);
        double sum = 0;
        for (int64_t j = 0; j < N; ++j) {
          for (int64_t d = 0; d < D; ++d) p[j] += qkv[i][h * D + d] * qkv[j][C + h * D + d] / std::sqrt(D);
          const int64_t rows = i / w - j / w + w - 1, columns = i % w - j % w + w - 1;
          p[j] = std::exp(p[j] + bias[(rows * (2 * w - 1) + columns) * c_.num_heads + h]);
          sum += p[j];
        }
        for (int64_t j = 0; j < N; ++j)
          for (int64_t d = 0; d < D; ++d) out[h * D + d] += p[j] / sum * qkv[j][2 * C + h * D + d];
      }
      add(tokens_[i], linear(name + ".attn.proj", out));
    }
    for (Vec& x : tokens_) add(x, linear(name + ".mlp.fc2", map(linear(name + ".mlp.fc1", norm(x)), gelu)));
  }

  static void add(Vec& x, const Vec& y) {
    for (size_t i = 0; i < x.size(); ++i) x[i] += y[i];
  }

  Runner& runner_;
  DiffitConfig c_;
  Layout layout_;
  std::vector<Vec> tokens_;
};

TEST(Diffit, IsTheFormulaOfThePaper) {
  Graph graph(DType::kF64);
  const Layout layout = diffit_layout(kTiny);
  const Parameters weights(graph, layout, "master");
  const auto in = [&](const char* name, Type type) { return input(graph, name, type, BufferClass::kActivations); };
  graph.name_output(diffit(weights, kTiny, in("x", {DType::kF64, {2, 6, 6, 2}}), in("t", {DType::kI64, {2}}),
                           in("y", {DType::kI64, {2}})),
                    "out");
  Runner runner(graph);
  test::fill_weights<double>(layout, runner);
  for (int i = 0; i < 2 * 72; ++i) runner.f64("x")[i] = normal_at(Philox(4, Purpose::kSynthetic), 0, i);
  const int64_t t[] = {0, 17}, y[] = {3, kTiny.num_classes};
  std::copy(t, t + 2, runner.i64("t")), std::copy(y, y + 2, runner.i64("y"));
  runner.run();
  const Vec out = runner.get("out");
  for (int64_t b = 0; b < 2; ++b) {
    const Vec expected = Reference(runner, kTiny)(runner.f64("x") + 72 * b, t[b], y[b]);
    // At t = 0 all is fp64 and epsilon's 1e-6 shows; elsewhere the angle of the time step is rounded to fp32.
    const double tolerance = t[b] == 0 ? 1e-10 : 1e-4;
    for (size_t i = 0; i < expected.size(); ++i)
      ASSERT_NEAR(out[b * expected.size() + i], expected[i], tolerance) << "image " << b << " element " << i;
  }
}

// One pixel, and a "network" whose outputs are x_t and v: the formulas of Ho et al. 2020 by hand.
struct OnePixel {
  Graph graph{DType::kF64};
  Value v;
  Loss loss;

  explicit OnePixel(bool learn_sigma) {
    const auto in = [&](const char* name) {
      return input(graph, name, {DType::kF64, {1, 1, 1, 1}}, BufferClass::kActivations);
    };
    const Value x0 = in("x0"), noise = in("noise"), eps_offset = in("offset");
    v = in("v");
    const Value t = input(graph, "t", {DType::kI64, {1}}, BufferClass::kActivations);
    loss = make_ddpm({.channels = 1, .learn_sigma = learn_sigma})
               ->loss(
                   [&](Value x, Value, Value) {
                     const Value eps = add(x, eps_offset);
                     return learn_sigma ? concat_last({eps, v}) : eps;
                   },
                   x0, t, noise, t);
    graph.name_output(loss.per_image, "loss");
    if (learn_sigma) graph.name_output(loss.mse, "mse"), graph.name_output(loss.variational, "variational");
    graph.name_output(
        backpropagate(graph, {loss.per_image}, {input(graph, "one", {DType::kF64, {1}}, BufferClass::kActivations)},
                      {eps_offset})[0],
        "gradient");
  }
  void fill(Runner& r) {
    r.f64("x0")[0] = 0.4, r.f64("noise")[0] = -1.3, r.f64("offset")[0] = 0.2, r.i64("t")[0] = 250, r.f64("one")[0] = 1;
  }
};

double predicted_noise() {
  const double bar = ddpm_schedule(1000, 1e-4, 0.02).alpha_bar[250];
  return std::sqrt(bar) * 0.4 + std::sqrt(1 - bar) * -1.3 + 0.2;  // x_t + offset
}

TEST(DdpmLoss, IsTheSquareOfTheNoiseError) {
  OnePixel pixel(false);
  Runner runner(pixel.graph);
  pixel.fill(runner);
  runner.run();
  EXPECT_NEAR(runner.get("loss")[0], std::pow(predicted_noise() + 1.3, 2), 1e-12);
}

TEST(DdpmLoss, TheVariationalTermDoesNotTrainTheNoise) {
  OnePixel pixel(true);
  Runner runner(pixel.graph);
  pixel.fill(runner);
  runner.f64("v")[0] = 0.3;
  runner.run();
  EXPECT_GT(std::fabs(runner.get("variational")[0]), 1e-6);
  EXPECT_EQ(runner.get("loss")[0], runner.get("mse")[0] + runner.get("variational")[0]);
  EXPECT_NEAR(runner.get("gradient")[0], 2 * (predicted_noise() + 1.3), 1e-12) << "that of the square alone";
}

}  // namespace
}  // namespace shardit

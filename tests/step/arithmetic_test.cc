// What a training step computes, against the same thing written in plain loops: sample numbers, draws, the order in
// which gradients are folded, the update and its numbers.
#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "tests/step/tiny_run.h"

namespace shardit {
namespace {

using test::tiny_config;
using test::TinyRun;

std::vector<float> floats(const test::State& state, const std::string& name) {
  const std::vector<std::byte>& bytes = state.at(name);
  std::vector<float> x(bytes.size() / sizeof(float));
  std::memcpy(x.data(), bytes.data(), bytes.size());
  return x;
}

// The inputs of the loss for one micro-batch, run by themselves.
struct Inputs {
  std::vector<float> noise, x0;
  std::vector<int64_t> y, t;
};

Inputs inputs_at(const RunSetup& setup, int64_t first, int64_t round) {
  Graph g;
  const LossInputs in = keyed_loss_inputs(g, setup);
  g.name_output(in.x0, "x0"), g.name_output(in.noise, "noise"), g.name_output(in.y, "y"), g.name_output(in.time, "t");
  Pool pool(1);
  const auto device = make_cpu_device();
  Program program(compile({{"g", g}}, 1), *device, pool);
  const int64_t counters[2] = {first, round};
  program.upload("step.counters", counters, sizeof counters);
  program.run("g");
  const auto get = [&]<typename T>(const char* name, std::vector<T>& to) {
    const TensorRef t = program.output("g", name);
    to.assign(t.as<T>(), t.as<T>() + t.numel());
  };
  Inputs result;
  get("noise", result.noise), get("x0", result.x0), get("y", result.y), get("t", result.t);
  return result;
}

TEST(StepInputs, EveryDrawIsKeyedByTheGlobalSampleNumber) {
  const RunSetup setup = make_setup(tiny_config({"model.label_dropout=0.5"}));
  const int64_t first = (int64_t{1} << 33) + 24, image = 64;
  const Philox noise(3, Purpose::kNoise), time(3, Purpose::kTime), drop(3, Purpose::kLabelDrop);
  for (int64_t round = 0; round < setup.rounds(); ++round) {
    const Inputs in = inputs_at(setup, first, round);
    for (int64_t b = 0; b < setup.micro_batch; ++b) {
      const uint64_t id = first + round * setup.micro_batch + b;
      for (int64_t i = 0; i < image; ++i) ASSERT_EQ(in.noise[b * image + i], normal_at(noise, id, i));
      EXPECT_EQ(in.t[b], integer_at(time, id, 0, 1000));
      EXPECT_EQ(in.y[b], uniform_at(drop, id, 0) < 0.5f ? setup.model.num_classes : 0);
    }
  }
}

std::set<std::string> keys_of_draws(const CompiledProgram& program, const std::string& prefix) {
  std::set<std::string> keys;
  for (const NamedGraph& g : program.graphs)
    if (g.name.starts_with(prefix))
      for (int n = 0; n < g.graph.node_count(); ++n) {
        const Node& node = g.graph.node(n);
        const std::string text = node.attrs ? node.attrs->text() : "";
        const size_t at = text.find("seed=");
        if (at != std::string::npos && node.card != &sample_ids_card) keys.insert(text.substr(at));
      }
  return keys;
}

TEST(StepInputs, TrainingValidationAndSamplingNeverShareAGenerator) {
  const RunConfig config = tiny_config({"sample.every_steps=1", "validation.every_steps=1", "sample.seed=3"});
  const RunSetup setup = make_setup(config);
  const CompiledProgram program = compile_run(setup, run_program_options(config, setup), 1);
  std::set<std::string> all;
  size_t sum = 0;
  for (const char* graph : {"micro_step", "validation", "sample."}) {
    const std::set<std::string> keys = keys_of_draws(program, graph);
    EXPECT_FALSE(keys.empty()) << graph;
    sum += keys.size();
    all.insert(keys.begin(), keys.end());
  }
  EXPECT_EQ(all.size(), sum) << "the same seed and purpose serve two graphs";
}

// One batch of eight and eight batches of one are the same mean: the loss is scaled by the global batch.
TEST(Step, LossAndGradientsDoNotDependOnTheMicroBatch) {
  const auto first_step = [](const std::string& micro_batch) {
    TinyRun run(tiny_config({"micro_batch_size=" + micro_batch}));
    run.step();
    return std::pair{run.loss(), run.state()};
  };
  const auto [whole, at_once] = first_step("8");
  for (const char* micro_batch : {"1", "2", "4"}) {
    const auto [loss, state] = first_step(micro_batch);
    EXPECT_NEAR(loss, whole, 1e-5f * whole) << micro_batch;
    for (const char* name : {"grad.embedders", "grad.blocks.1", "grad.final_layer"}) {
      const auto a = floats(state, name), b = floats(at_once, name);
      float largest = 0, worst = 0;
      for (size_t i = 0; i < a.size(); ++i) {
        largest = std::max(largest, std::fabs(b[i]));
        worst = std::max(worst, std::fabs(a[i] - b[i]));
      }
      EXPECT_LE(worst, 1e-4f * largest) << name << ", micro-batches of " << micro_batch;  // other orders of fp32 sums
    }
  }
}

// The gradient of each round by itself: a program whose global batch is one micro-batch holds it in grad.*; scaling by
// 1/2 instead of 1/8 is exact.
TEST(Step, GradientsAreFoldedInGroupsInOrder) {
  TinyRun run(tiny_config()), alone(tiny_config({"global_batch_size=2"}));
  std::vector<std::vector<float>> terms;
  for (int64_t round = 0; round < 4; ++round) {
    run.micro_step(round);
    alone.micro_step_as(0, round);
    terms.push_back(floats(alone.state(), "grad.blocks.0"));
  }
  const auto sum = floats(run.state(), "grad.blocks.0");
  int order_matters = 0;
  for (size_t i = 0; i < sum.size(); ++i) {
    const float t[4] = {terms[0][i] / 4, terms[1][i] / 4, terms[2][i] / 4, terms[3][i] / 4};
    ASSERT_EQ(sum[i], (t[0] + t[1]) + (t[2] + t[3])) << i;
    order_matters += sum[i] != ((t[0] + t[1]) + t[2]) + t[3];
  }
  EXPECT_GT(order_matters, 100) << "with these numbers another order would not be seen";
}

// One update in double from the gradient that the program used.
TEST(Step, TheUpdateIsAdamWThenTheEmas) {
  const RunConfig config = tiny_config({"optimizer.weight_decay=0.1"});
  TinyRun run(config);
  const auto before = run.state();
  run.step();
  const auto after = run.state();
  double norm = 0;
  for (const Unit& unit : run.setup().layout.units)
    for (float g : floats(after, "grad." + unit.name)) norm += double(g) * g;
  norm = std::sqrt(norm);
  ASSERT_GT(norm, 0.5) << "the gradient should be clipped";
  const double lr = 1e-2 * 8 / 24;  // the first of three warmup steps
  const auto p0 = floats(before, "master.blocks.0"), g = floats(after, "grad.blocks.0");
  const auto p = floats(after, "master.blocks.0"), slow = floats(after, "ema.slow.blocks.0"),
             fast = floats(after, "ema.fast.blocks.0");
  for (size_t i = 0; i < p.size(); ++i) {
    const double clipped = g[i] * 0.5 / norm, m = 0.1 * clipped / (1 - 0.9),
                 v = 0.001 * clipped * clipped / (1 - 0.999);
    const double expected = p0[i] * (1 - lr * 0.1) - lr * m / (std::sqrt(v) + 1e-8);
    ASSERT_NEAR(p[i], expected, 1e-6) << i;
    ASSERT_NEAR(slow[i], p0[i] + 0.1 * (double(p[i]) - p0[i]), 1e-7) << i;
    ASSERT_NEAR(fast[i], p0[i] + 0.5 * (double(p[i]) - p0[i]), 1e-7) << i;
  }
}

TEST(StepNumbers, FollowTheirFormulas) {
  const RunConfig config = tiny_config();
  for (int64_t step : {0, 1, 5}) {
    const std::vector<double> n = step_numbers(config, step);
    const double t = static_cast<double>(step + 1);
    EXPECT_DOUBLE_EQ(n[0], 1e-2 * std::min(1.0, 8 * t / 24)) << step;
    EXPECT_DOUBLE_EQ(n[1], 1 - std::pow(0.9, t)) << step;
    EXPECT_DOUBLE_EQ(n[2], 1 - std::pow(0.999, t)) << step;
    EXPECT_EQ(n[3], 0.9);
    EXPECT_EQ(n[4], 0.5);
  }
  const RunConfig half_life = tiny_config({"ema[0].decay=", "ema[0].half_life_images=1000"});
  EXPECT_DOUBLE_EQ(step_numbers(half_life, 0)[3], std::pow(0.5, 8 / 0.4)) << "5 % of the 8 images seen";
  EXPECT_DOUBLE_EQ(step_numbers(half_life, 9999)[3], std::pow(0.5, 8 / 1000.0));
}

}  // namespace
}  // namespace shardit

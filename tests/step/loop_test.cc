// The step loop of launcher/trainer.cc against the same steps written out: images by the order's index, always the
// first slot, every round told, nothing read ahead.
#include <gtest/gtest.h>

#include "data/order.h"
#include "launcher/metrics.h"
#include "launcher/run_data.h"
#include "launcher/trainer.h"
#include "tests/launcher/alone.h"
#include "tests/launcher/test_folder.h"
#include "tests/step/tiny_run.h"

namespace shardit {
namespace {

std::vector<double> losses_of_the_run(const RunConfig& config, const std::vector<int64_t>& stops) {
  const TestFolder folder;
  for (int64_t stop : stops) EXPECT_EQ(train_alone(config, {.run_dir = folder / "run", .steps = stop}), 0);
  std::vector<double> losses;
  for (const StepMetrics& step : read_metrics(folder / "run/metrics.jsonl").steps) losses.push_back(step.loss);
  return losses;
}

std::vector<double> losses_written_out(const RunConfig& config) {
  const RunSetup setup = make_setup(config);
  Pool pool(1);
  const auto device = make_cpu_device();
  Program program(compile(test::tiny_graphs(setup, {}), 1), *device, pool);
  program.run("constants");
  initialize_state(program, setup);
  refresh_weights(program);
  const auto data = open_training_data(config);
  const SampleOrder order(config.seed(), data->size());
  auto* pixels = static_cast<uint8_t*>(program.host_pointer("batch.pixels"));
  auto* labels = static_cast<int64_t*>(program.host_pointer("batch.labels"));
  std::vector<double> losses;
  for (int64_t step = 0; step < config.steps(); ++step) {
    double& sum = losses.emplace_back(0);
    for (int64_t round = 0; round < setup.rounds(); ++round) {
      for (int64_t b = 0; b < setup.micro_batch; ++b) {
        const int64_t sample = step * setup.global_batch + round * setup.micro_batch + b;
        data->read(order.index(sample), pixels + b * data->image_bytes(), labels + b);
      }
      const int64_t counters[2] = {step * setup.global_batch, round};
      program.upload("step.counters", counters, sizeof counters);
      program.run("micro_step");
      float loss;
      program.download("step.loss", &loss, sizeof loss);
      sum += static_cast<double>(loss);
    }
    const std::vector<double> numbers = step_numbers(config, step);
    program.upload("step.numbers", numbers.data(), static_cast<int64_t>(numbers.size() * sizeof(double)));
    program.run("update");
  }
  return losses;
}

TEST(StepLoop, EveryLossIsThatOfTheStepsWrittenOut) {
  for (const auto& sets : {std::vector<std::string>{}, test::kEdmInBf16}) {
    const RunConfig config = test::tiny_config(sets);
    EXPECT_EQ(losses_of_the_run(config, {6}), losses_written_out(config));
  }
}

TEST(StepLoop, AResumedRunGoesOnWithTheSameLosses) {
  for (const auto& sets : {std::vector<std::string>{}, test::kEdmInBf16}) {
    const RunConfig config = test::tiny_config(sets);
    EXPECT_EQ(losses_of_the_run(config, {1, 4, 6}), losses_written_out(config));
  }
}

TEST(InitialWeights, AreDrawnByTensorNameAndElement) {
  const Param a{.name = "blocks.0.x.weight", .shape = {40, 10}, .init = {.kind = Init::kNormal, .std = 0.02}};
  Param b = a;
  b.name = "blocks.1.x.weight";
  std::vector<float> x(400), y(400);
  draw_initial({.param = &a, .count = 400}, 9, x.data());
  draw_initial({.param = &b, .count = 400}, 9, y.data());
  EXPECT_NE(x, y);
  const Philox philox(9, Purpose::kInitialWeights);
  for (int64_t i = 0; i < 400; ++i)
    ASSERT_EQ(x[i], static_cast<float>(0.02 * double(normal_at(philox, hash_name("blocks.0.x.weight"), i)))) << i;
  std::vector<float> part(100);
  draw_initial({.param = &a, .first = 250, .count = 100}, 9, part.data());
  EXPECT_TRUE(std::equal(part.begin(), part.end(), x.begin() + 250)) << "a shard's part is the same elements";
}

TEST(InitialWeights, AreTheSameWhicheverThreadDrawsAPiece) {
  test::TinyRun run(test::tiny_config({"model.hidden_size=192"}), test::Lowering{}, 3);
  const Unit& block = run.setup().layout.units[1];
  const auto* master = static_cast<const float*>(run.program().host_pointer(unit_buffer("master", block)));
  int64_t most = 0;
  for (const ParamPart& part : parts_in_shard(block, 0, 1)) {
    std::vector<float> drawn(static_cast<size_t>(part.count));
    draw_initial(part, run.setup().seed, drawn.data());
    EXPECT_TRUE(std::equal(drawn.begin(), drawn.end(), master + part.offset)) << part.param->name;
    most = std::max(most, part.count);
  }
  EXPECT_GT(most, 2 << 16) << "three pieces";
}

}  // namespace
}  // namespace shardit

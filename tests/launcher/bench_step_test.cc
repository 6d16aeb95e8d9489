#include "launcher/bench_step.h"

#include <gtest/gtest.h>

#include <set>
#include <thread>

#include "launcher/bench_ops.h"
#include "launcher/median.h"
#include "launcher/run_program.h"
#include "launcher/run_setup.h"
#include "tests/launcher/measured_alone.h"

namespace shardit {
namespace {

// Measured once for all tests.
const StepBench& small_step() {
  static const StepBench once = [] {
    const auto world = make_single_world();
    return measure_step(small_config(0), {.steps = 3, .traced = 3, .threads = 1}, *world);
  }();
  return once;
}

TEST(BenchStep, CountsEveryGraphAsOftenAsAStepRunsIt) {
  std::map<std::string, int64_t> runs;
  for (const OpShare& op : small_step().ops) runs[op.card] = op.runs;
  EXPECT_EQ(runs["attention"], 2 * 4) << "blocks, micro-batches";
  EXPECT_EQ(runs["adamw"], static_cast<int64_t>(make_setup(small_config(0)).layout.units.size())) << "once a step";
  EXPECT_FALSE(runs.contains("input"));
  EXPECT_FALSE(runs.contains("unpack")) << "views take no time and no line";
}

TEST(BenchStep, TimesOfOpsAndWhatLiesBetweenThemAreTheStep) {
  const StepBench& bench = small_step();
  double sum = 0;
  for (const OpShare& op : bench.ops) {
    EXPECT_GT(op.ms, 0) << op.card;
    if (!op.beside) sum += op.ms;
  }
  EXPECT_LE(sum, bench.traced_ms);
  EXPECT_GT(sum, 0.2 * bench.traced_ms);
  EXPECT_GE(bench.ops.front().ms, bench.ops.back().ms);
}

TEST(BenchStep, ItsFractionIsThatOfTheFloorsOfItsOps) {
  StepBench bench{.images = 8, .step_ms = 20, .ops = {{.card = "a", .floor_ms = 4}, {.card = "b", .floor_ms = 6}}};
  bench.ops.push_back({.card = "fold", .floor_ms = 100, .beside = true});
  bench.model_flops = 4e9;
  bench.peak_flops = 400e9;
  const Json json = to_json(bench);
  EXPECT_EQ(json.at("fraction_of_ceiling"), 0.5);
  EXPECT_EQ(json.at("mfu"), 0.5);
  EXPECT_EQ(json.at("images_per_s"), 400);
  std::vector<std::string> keys;
  for (const auto& [key, value] : json.items()) keys.push_back(key);
  EXPECT_EQ(keys, (std::vector<std::string>{"images_per_s", "step_ms", "mfu", "fraction_of_ceiling", "parameters",
                                            "plan_bytes"}));
}

TEST(BenchStep, TheModelsFlopsAreThreeForwards) {
  EXPECT_DOUBLE_EQ(small_step().model_flops, 3 * 8 * forward_matmul_flops(make_setup(small_config(0))));
}

// Training, validation and sampling: what only one of them runs is there.
TEST(BenchOps, HasTheKernelsOfAllGraphsOfARun) {
  const OpsBench bench = measure_ops(small_config(0), 2, 1);
  std::set<std::string> cards;
  for (const OpTime& op : bench.ops) {
    cards.insert(op.kernel.card);
    EXPECT_GT(op.ms, 0) << op.kernel.card;
    EXPECT_GT(op.floor.ms, 0) << op.kernel.card;
  }
  for (const char* card : {"linear", "attention_grad", "adamw", "copy", "draw_normal", "learned_noise"})
    EXPECT_TRUE(cards.contains(card)) << card;
  EXPECT_FALSE(cards.contains("reshape"));
}

TEST(BenchOps, NeedsNoConfig) {
  const RunConfig config = parse_config(default_bench_config(), "default");
  EXPECT_EQ(config.global_batch_size() % config.micro_batch_size(), 0);
}

}  // namespace
}  // namespace shardit

#include "launcher/run_plan.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>

#include "core/error.h"
#include "launcher/run_program.h"
#include "tests/launcher/measured_alone.h"
#include "tests/launcher/small_cluster.h"
#include "tests/launcher/test_folder.h"

namespace shardit {
namespace {

// A cluster file, for as long as a test needs it.
class ClusterFile {
 public:
  explicit ClusterFile(const std::string& text = kSmallCluster) { std::ofstream(path()) << text; }
  std::string path() const { return folder_ / "cluster.textproto"; }

 private:
  TestFolder folder_;
};

RunConfig larger_batch(int stage) {
  RunConfig config = small_config(stage);
  config.set_global_batch_size(16);
  config.set_steps(1000);
  return config;
}

Sweep sweep_on_two(const RunConfig& config) {
  const ClusterFile file;
  Planner planner(config, file.path(), 0);
  return sweep(planner, config, 2);
}

TEST(RunPlan, OneRankTakesTheSumOfItsKernelsAndOfWhatTheHostDoes) {
  const ClusterFile file;
  const RunConfig config = larger_batch(0);
  const RunPlan plan = Planner(config, file.path(), 0).plan(config, 1);
  const RunSetup setup = make_setup(config);
  const CompiledProgram program = compile_run(setup, {}, 1);
  const Pace pace = pace_of(small_cluster(), setup.sharding.mesh);
  std::map<std::string, double> ms;
  for (const NamedGraph& g : program.graphs)
    for (int n = 0; n < g.graph.node_count(); ++n) ms[g.name] += pace.node_ms(g.graph, g.graph.node(n));
  double sum = 0.25 * 8;  // rounds
  for (const std::string& name : graphs_of_step(setup)) sum += ms.at(name);
  EXPECT_NEAR(plan.step_ms, sum, 1e-6 * sum);
  EXPECT_EQ(plan.exposed_ms, 0);
}

TEST(RunPlan, WhatFollowsFromTheStepFollows) {
  const ClusterFile file;
  const RunConfig config = larger_batch(2);
  Planner planner(config, file.path(), 0);
  const RunPlan plan = planner.plan(config, 4);
  const double flops = 3 * forward_matmul_flops(make_setup(config)) * 16;
  EXPECT_DOUBLE_EQ(plan.mfu, flops / (plan.step_ms * 1e-3) / (4 * 1e9));
  EXPECT_DOUBLE_EQ(plan.images_per_s(), 16 / plan.step_ms * 1e3);
  EXPECT_DOUBLE_EQ(plan.finish_h, 1000 * plan.step_ms / 3.6e6);
  EXPECT_DOUBLE_EQ(plan.device_h(), 4 * plan.finish_h);
}

TEST(RunPlan, NodesWithFewerRanksWaitLonger) {
  const ClusterFile file;
  const RunConfig config = larger_batch(2);
  const double together = Planner(config, file.path(), 0).plan(config, 4).exposed_ms,
               pairs = Planner(config, file.path(), 2).plan(config, 4).exposed_ms,
               apart = Planner(config, file.path(), 1).plan(config, 4).exposed_ms;
  EXPECT_LT(together, pairs);
  EXPECT_LT(pairs, apart);
}

TEST(RunPlan, AConfigsDeviceMustBeTheClusters) {
  RunConfig config = larger_batch(0);
  config.set_device(RunConfig::cpu);
  try {
    Planner(config, "h200-ib400", 0).plan(config, 1);
    ADD_FAILURE();
  } catch (const UserError& error) {
    EXPECT_NE(std::string(error.what()).find("device=cpu: ranks of cluster h200-ib400 compute on GPUs"),
              std::string::npos)
        << error.what();
  }
}

TEST(Sweep, HasEveryStageWithEveryMicroBatchThatShares) {
  const ClusterFile file;
  const RunConfig config = larger_batch(2);
  Planner planner(config, file.path(), 0);
  const Sweep all = sweep(planner, config, 2);
  std::vector<std::pair<int, int64_t>> ways;
  for (const SweepRow& row : all.rows) ways.emplace_back(row.zero_stage, row.micro_batch);
  std::vector<std::pair<int, int64_t>> expected;
  for (int stage : {0, 1, 2, 3})
    for (int64_t size : {1, 2, 4, 8}) expected.emplace_back(stage, size);
  EXPECT_EQ(ways, expected);
  for (const SweepRow& row : all.rows) {
    RunConfig one = config;
    one.mutable_parallel()->set_zero_stage(row.zero_stage);
    one.set_micro_batch_size(row.micro_batch);
    EXPECT_EQ(row.plan.step_ms, planner.plan(one, 2).step_ms) << "what plan says of that config";
  }
}

TEST(Sweep, TheBestIsAsFastAsTheFastestThatFitsAndNoneOfThoseIsSmaller) {
  RunConfig config = larger_batch(2);
  int64_t most = 0, least = INT64_MAX;
  for (const SweepRow& row : sweep_on_two(config).rows) {
    most = std::max(most, row.plan.memory.arena_bytes);
    least = std::min(least, row.plan.memory.arena_bytes);
  }
  for (int64_t limit : {most, (most + least) / 2, least}) {
    config.mutable_parallel()->set_memory_budget_bytes(limit);
    const Sweep bounded = sweep_on_two(config);
    ASSERT_GE(bounded.best, 0);
    const RunPlan& best = bounded.rows[bounded.best].plan;
    EXPECT_LE(best.memory.arena_bytes, limit);
    double fastest = best.step_ms;
    for (const SweepRow& row : bounded.rows) {
      EXPECT_EQ(row.fits, row.plan.memory.arena_bytes <= limit);
      if (row.fits) fastest = std::min(fastest, row.plan.step_ms);
    }
    EXPECT_LE(best.step_ms, fastest * 1.005);
    for (const SweepRow& row : bounded.rows)
      EXPECT_TRUE(!row.fits || row.plan.step_ms > fastest * 1.005 ||
                  row.plan.memory.arena_bytes >= best.memory.arena_bytes);
    EXPECT_GE(bounded.why.size(), 3u) << "a line for each other stage";
  }
}

TEST(Sweep, SaysSoIfNoneFits) {
  RunConfig config = larger_batch(2);
  config.mutable_parallel()->set_memory_budget_bytes(1000);
  const Sweep none = sweep_on_two(config);
  EXPECT_EQ(none.best, -1);
  ASSERT_EQ(none.why.size(), 1u);
  EXPECT_NE(none.why[0].find("none fits in 1000 B: the least is zero_stage="), std::string::npos) << none.why[0];
}

TEST(Sweep, WhatARunWouldRefuseIsARowThatSaysWhy) {
  RunConfig config = larger_batch(2);
  config.mutable_parallel()->set_prefetch_bytes(1);
  const Sweep some = sweep_on_two(config);
  for (const SweepRow& row : some.rows) {
    EXPECT_EQ(row.refused.empty(), row.zero_stage != 3) << row.zero_stage << ": " << row.refused;
    if (row.refused.empty()) continue;
    EXPECT_NE(row.refused.find("parallel.prefetch_bytes=1 is too small"), std::string::npos) << row.refused;
  }
  ASSERT_GE(some.best, 0);
  EXPECT_TRUE(to_json(some)["rows"].back().contains("refused"));
  EXPECT_EQ(std::count_if(
                some.why.begin(), some.why.end(),
                [](const std::string& line) { return line.find("zero_stage=3 micro_batch_size=1 is refused: ") == 0; }),
            1);
}

}  // namespace
}  // namespace shardit

#include "launcher/predict.h"

#include <gtest/gtest.h>

#include "core/error.h"
#include "ops/ops.h"
#include "tests/launcher/measured_alone.h"

namespace shardit {
namespace {

// Values of `x` alone: the node made last.
const Node& last_node(const Graph& g) { return g.node(g.node_count() - 1); }

Value floats(Graph& g, int64_t n) { return input(g, "x", {DType::kF32, {n}}, BufferClass::kActivations); }

TEST(KernelTimes, AreTheMedianOfTheSameKernel) {
  Graph g;
  copy(floats(g, 64));
  KernelTimes times;
  for (double ms : {5.0, 1.0, 90.0}) times.add(g, last_node(g), ms);
  EXPECT_EQ(times.ms(g, last_node(g)), 5);
}

TEST(KernelTimes, OfAnotherSizeFollowItsCost) {
  Graph g, larger;
  copy(floats(g, 64));
  copy(floats(larger, 192));
  KernelTimes times;
  times.add(g, last_node(g), 2);
  EXPECT_DOUBLE_EQ(times.ms(larger, last_node(larger)), 6);
}

TEST(KernelTimes, OfACardThatNeverRanFollowItsBytes) {
  Graph g, other;
  copy(floats(g, 64));      // 2 * 256 bytes
  silu(floats(other, 64));  // as many
  KernelTimes times;
  times.add(g, last_node(g), 2);
  EXPECT_DOUBLE_EQ(times.ms(other, last_node(other)), 2);
}

TEST(Predict, OneRankIsTheSumOfItsKernelsAndWaitsForNobody) {
  const PredictedStep one = predict_step(small_config(2), 1, measured(), 1);
  EXPECT_GT(one.ms, 0);
  EXPECT_EQ(one.total_exposed_ms(), 0);
}

// The first round of a step may be another graph; each further one adds the same.
TEST(Predict, EveryRoundCountsOnceAtEveryStage) {
  Measured paced = measured();
  paced.link = {.step_us = 1e6, .gb_per_s = 1e6};  // beside a second for every collective, nothing else counts
  for (int stage : {0, 2, 3}) {
    std::vector<double> ms;
    for (int rounds : {1, 2, 3}) {
      RunConfig config = small_config(stage);
      config.set_global_batch_size(2 * 2 * rounds);
      ms.push_back(predict_step(config, 2, paced, 1).ms);
    }
    EXPECT_GT(ms[1] - ms[0], 1000) << "stage " << stage;
    EXPECT_NEAR(ms[2] - ms[1], ms[1] - ms[0], 50) << "stage " << stage;
  }
}

TEST(Predict, AFreeLinkSharesTheRoundsOut) {
  const double one = predict_step(small_config(0), 1, measured(), 1).ms;
  for (int ranks : {2, 4}) {
    const PredictedStep many = predict_step(small_config(0), ranks, measured(), 1);
    EXPECT_LT(many.ms, one * 1.2);
    EXPECT_GT(many.ms, one / ranks * 0.8);
  }
}

// At every stage; a slow link cannot hide, and its time is that of the bytes it moves.
TEST(Predict, ASlowLinkIsExposedByUnit) {
  for (int stage : {0, 2, 3}) {
    Measured slow = measured();
    slow.link = {.step_us = 0, .gb_per_s = 1e-3};
    const PredictedStep hidden = predict_step(small_config(stage), 2, measured(), 1),
                        exposed = predict_step(small_config(stage), 2, slow, 1);
    EXPECT_GT(exposed.total_exposed_ms(), 10 * hidden.total_exposed_ms()) << stage;
    EXPECT_GT(exposed.ms, hidden.ms) << stage;
    EXPECT_NEAR(exposed.ms - hidden.ms, exposed.total_exposed_ms() - hidden.total_exposed_ms(), 0.5 * hidden.ms);
    slow.link.gb_per_s /= 2;
    EXPECT_NEAR(predict_step(small_config(stage), 2, slow, 1).total_exposed_ms(), 2 * exposed.total_exposed_ms(),
                0.2 * exposed.total_exposed_ms() + hidden.ms)
        << stage;
  }
}

TEST(Predict, LatencyCostsMoreWithMoreRanks) {
  Measured late = measured();
  late.link = {.step_us = 1e4, .gb_per_s = 1e6};
  const double two = predict_step(small_config(2), 2, late, 1).ms, four = predict_step(small_config(2), 4, late, 1).ms;
  EXPECT_GT(four, two) << "half the rounds, three times the steps in each";
}

TEST(Predict, ARankCountThatDoesNotFitIsToldWithTheRight) {
  try {
    predict_step(small_config(2), 3, measured(), 1);
    ADD_FAILURE();
  } catch (const UserError& error) {
    EXPECT_NE(std::string(error.what()).find("start 1, 2, 4 ranks"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace shardit

#include "model/diffit.h"

#include <gtest/gtest.h>

#include "tests/model/harness.h"

namespace shardit {
namespace {

using test::kTiny;
using test::Runner;

Graph forward_graph(const Layout& layout) {
  Graph graph;
  const Parameters weights(graph, layout, "master");
  const Value x = input(graph, "x", {DType::kF32, {2, 6, 6, 2}}, BufferClass::kActivations);
  const Value t = input(graph, "t", {DType::kI64, {2}}, BufferClass::kActivations);
  const Value y = input(graph, "y", {DType::kI64, {2}}, BufferClass::kActivations);
  graph.name_output(diffit(weights, kTiny, x, t, y), "out");
  return graph;
}

void fill_inputs(Runner& runner) {
  for (int i = 0; i < 2 * 6 * 6 * 2; ++i) runner.f32("x")[i] = static_cast<float>((i * 7) % 11) / 5.0f - 1;
  runner.i64("t")[0] = 17, runner.i64("t")[1] = 803;
  runner.i64("y")[0] = 2, runner.i64("y")[1] = kTiny.num_classes;
}

// Softmax does not see what shifts all logits of a row alike: the key part of the time projection changes nothing, not
// even a bit, because the kernel leaves it out.
TEST(Diffit, KeyPartOfTheTimeProjectionHasNoEffect) {
  const Layout layout = diffit_layout(kTiny);
  Runner runner(forward_graph(layout));
  test::fill_weights<float>(layout, runner);
  fill_inputs(runner);
  runner.run();
  const std::vector<double> before = runner.get("out");
  const int64_t C = kTiny.hidden_size;
  for (const Unit& unit : layout.units)
    for (const Param& p : unit.params)
      if (p.name.ends_with("qkv_temb.weight"))
        for (int64_t i = C * C; i < 2 * C * C; ++i)
          runner.f32("master." + unit.name)[p.offset() + i] = static_cast<float>(i % 13);
  runner.run();
  EXPECT_EQ(runner.get("out"), before);
}

TEST(Diffit, EveryOtherWeightHasAnEffect) {
  const Layout layout = diffit_layout(kTiny);
  Runner runner(forward_graph(layout));
  test::fill_weights<float>(layout, runner);
  fill_inputs(runner);
  runner.run();
  const std::vector<double> before = runner.get("out");
  for (const Unit& unit : layout.units)
    for (const Param& p : unit.params) {
      // Of the label table only the rows of this batch count: row 2. A key bias shifts whole rows of logits too.
      const int64_t element = p.name.ends_with("embedding_table.weight") ? 2 * kTiny.hidden_size : 0;
      float& w = runner.f32("master." + unit.name)[p.offset() + element];
      const float old = w;
      w += 0.5f;
      runner.run();
      EXPECT_NE(runner.get("out"), before) << p.name;
      w = old;
    }
}

TEST(Diffit, ImagesOfABatchDoNotSeeEachOther) {
  const Layout layout = diffit_layout(kTiny);
  Runner runner(forward_graph(layout));
  test::fill_weights<float>(layout, runner);
  fill_inputs(runner);
  runner.run();
  const std::vector<double> before = runner.get("out");
  runner.f32("x")[0] += 1;
  runner.i64("t")[0] = 5;
  runner.run();
  const std::vector<double> after = runner.get("out");
  const size_t half = before.size() / 2;
  EXPECT_TRUE(std::equal(before.begin() + static_cast<int64_t>(half), before.end(),
                         after.begin() + static_cast<int64_t>(half)));
  EXPECT_NE(before[0], after[0]);
}

}  // namespace
}  // namespace shardit

#include "ops/differentiate.h"

#include "core/error.h"
#include "core/passes.h"
#include "tests/ops/case.h"

namespace shardit {
namespace {

const Type kThree = {DType::kF32, {3}};

// The loss is the sum over x of what `terms` makes of it; returns d loss / d x at x.
std::vector<float> gradient_at(const std::vector<float>& x, const std::function<Value(Value)>& formula) {
  Case c;
  const Value in = c.in("x", kThree);
  c.out("dx", differentiate(c.graph, weighted_sum(formula(in), 1), {in})[0]);
  c.compile();
  c.set("x", x);
  c.run();
  return c.get<float>("dx");
}

// x is used three times with factors 2^24, 1 and -2^24: fp32 sums depend on the order of the terms.
//   (2^24 + 1) - 2^24 = 0,  (2^24 - 2^24) + 1 = 1
Value three_uses(Value x, const std::vector<float>& factors) {
  Value sum;
  for (float f : factors) {
    const std::string name = "factor " + std::to_string(f);
    const Value term = scale(table(*x.graph, name, {f, f, f}), x);
    sum = sum ? add(sum, term) : term;
  }
  return sum;
}

TEST(Differentiate, ContributionsAreSummedInTheOrderOfTheirConsumers) {
  const float big = 0x1p24f;
  const auto gradient = [&](std::vector<float> factors) {
    return gradient_at({1, 1, 1}, [&](Value x) { return three_uses(x, factors); })[0];
  };
  EXPECT_EQ(gradient({big, 1, -big}), 0);  // 2^24 + 1 is not an fp32 number: it rounds to 2^24
  EXPECT_EQ(gradient({big, -big, 1}), 1);
  EXPECT_EQ(gradient({1, big, -big}), 0);
  EXPECT_EQ(gradient({-big, big, 1}), 1);
}

TEST(Differentiate, AValueUsedTwiceByOneNodeCountsTwice) {
  EXPECT_EQ(gradient_at({1, 2, 3}, [](Value x) { return add(x, x); }), (std::vector<float>{2, 2, 2}));
}

TEST(Differentiate, StopGradientStops) {
  EXPECT_EQ(gradient_at({1, 2, 3}, [](Value x) { return add(x, stop_gradient(x)); }), (std::vector<float>{1, 1, 1}));
}

TEST(Differentiate, WhatTheLossDoesNotDependOnIsTheUsersMistake) {
  Graph g;
  const Value x = input(g, "x", kThree, BufferClass::kActivations),
              y = input(g, "y", kThree, BufferClass::kActivations);
  const Value loss = weighted_sum(add(x, stop_gradient(y)), 1);
  try {
    differentiate(g, loss, {x, y});
    FAIL();
  } catch (const UserError& e) {
    EXPECT_STREQ(e.what(), "y: nothing that is differentiated depends on it");
  }
}

TEST(Differentiate, OnlyWhatIsAskedForIsComputed) {
  Graph g;
  const Value x = input(g, "x", {DType::kF32, {4, 8}}, BufferClass::kActivations);
  const Value w = input(g, "w", {DType::kF32, {8, 8}}, BufferClass::kActivations);
  g.name_output(differentiate(g, weighted_sum(mean_squared_error(linear(x, w, {}), x), 1), {w})[0], "dw");
  const Graph pruned = prune(g);
  for (int n = 0; n < pruned.node_count(); ++n) EXPECT_NE(pruned.node(n).card, &linear_dgrad_card) << "nobody wants dx";
}

TEST(Differentiate, BackwardNodesCarryTheLabelAndUnitOfTheirFormula) {
  Graph g;
  const Value x = input(g, "x", kThree, BufferClass::kActivations);
  Value y;
  {
    const auto unit = g.unit_scope("blocks.5");
    y = gelu(x);
  }
  const Node& node = g.producer(differentiate(g, weighted_sum(y, 1), {x})[0].id);
  EXPECT_EQ(node.card, &gelu_grad_card);
  EXPECT_EQ(node.label, "grad blocks.5");
  EXPECT_EQ(node.unit, "blocks.5");
  EXPECT_TRUE(node.backward);
  EXPECT_FALSE(g.producer(y.id).backward);
}

TEST(Differentiate, ALossThatIsNoScalarIsRefused) {
  Graph g;
  const Value x = input(g, "x", kThree, BufferClass::kActivations);
  EXPECT_DEATH(differentiate(g, gelu(x), {x}), "the loss is not a scalar");
}

TEST(Differentiate, AGivenGradientTakesThePlaceOfOne) {
  Case c;
  const Value x = c.in("x", kThree), y = add(x, x);
  c.out("dx", backpropagate(c.graph, {y, x}, {c.in("dy", kThree), c.in("dx0", kThree)}, {x})[0]);
  c.compile();
  c.set("dy", std::vector<float>{1, 10, 100});
  c.set("dx0", std::vector<float>{0.5f, 0.5f, 0.5f});
  c.run();
  EXPECT_EQ(c.get<float>("dx"), (std::vector<float>{2.5f, 20.5f, 200.5f}));
}

}  // namespace
}  // namespace shardit

#include "core/passes.h"

#include <gtest/gtest.h>

#include "core/program.h"
#include "core/verify.h"
#include "tests/core/test_ops.h"

namespace shardit {
namespace {

using test::in;

OpCard constant_card() {
  OpCard c = test::card("seven");
  c.shape = [](const NodeTypes& n) { return std::vector{n.real_of({64})}; };
  c.cpu = [](const KernelArgs& k) {
    for (int64_t i = 0; i < 64; ++i) k.out[0].as<float>()[i] = 7;
  };
  c.constant = true;
  return c;
}
const OpCard seven = constant_card();

TEST(Prune, KeepsOutputsAndUpdatesOnly) {
  Graph g;
  const Value x = in(g, "x");
  g.add1(test::plain, {x});
  g.name_output(g.add1(test::plain, {x}), "y");
  g.add1(test::update, {in(g, "state")});
  EXPECT_EQ(prune(g).node_count(), 4);  // two inputs, one plain, one update
}

TEST(HoistConstants, RunOnceInAPrologue) {
  Graph g, prologue;
  g.name_output(g.add1(test::plain, {in(g, "x"), g.add1(seven, {}), g.add1(seven, {})}), "y");
  const Graph hoisted = hoist_constants(g, prologue);
  EXPECT_EQ(find_violation(hoisted), "");
  EXPECT_EQ(prologue.node_count(), 1) << "equal constants share a buffer";

  Pool pool(1);
  const auto device = make_cpu_device();
  Program program(compile({{"prologue", prologue}, {"g", hoisted}}, 1), *device, pool);
  program.run("prologue");
  program.run("g");
  EXPECT_EQ(program.output("g", "y").as<float>()[5], 15);  // 0 + 7 + 7 + 1
}

// forward: a = f(x), b = f(a), c = f(b) in one unit; backward reads a and b.
Graph forward_backward() {
  Graph g;
  Value a, b, c;
  const Value x = in(g, "x");
  {
    const auto unit = g.unit_scope("block");
    a = g.add1(test::plain, {x});
    b = g.add1(test::plain, {a});
    c = g.add1(test::plain, {b});
    g.set_backward(true);
    g.name_output(g.add1(test::plain, {c, b, a}), "grad");
  }
  return g;
}

TEST(Recompute, ClonesAUnitBeforeItsBackward) {
  const Graph g = forward_backward(), again = recompute(g, Recompute::kBlock);
  EXPECT_EQ(find_violation(again), "");
  EXPECT_EQ(again.node_count(), g.node_count() + 3);
  EXPECT_EQ(again.node(4).recompute_of, 1);
  EXPECT_TRUE(again.node(4).backward);
}

TEST(Recompute, GivesTheSameBits) {
  Pool pool(1);
  const auto device = make_cpu_device();
  const Graph g = forward_backward();
  Program program(compile({{"kept", g}, {"again", recompute(g, Recompute::kBlock)}}, 1), *device, pool);
  program.run("kept");
  const float kept = program.output("kept", "grad").as<float>()[0];
  program.run("again");
  EXPECT_EQ(program.output("again", "grad").as<float>()[0], kept);
}

}  // namespace
}  // namespace shardit

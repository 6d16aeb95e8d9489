#include "core/simulate.h"

#include <gtest/gtest.h>

#include "tests/core/test_ops.h"

namespace shardit {
namespace {

using test::in;

Value on(Graph& g, const OpCard& card, Value x, const std::string& unit = "") {
  const auto scope = g.unit_scope(unit.empty() ? "outside" : unit);
  return g.add1(card, {x});
}

Timeline run(const Graph& g, const std::vector<double>& ms) { return simulate(g, schedule(g), ms); }

TEST(Simulate, StepsOfOneStreamFollowEachOther) {
  Graph g;
  const Value x = in(g, "x");
  on(g, test::plain, on(g, test::plain, x));
  const Timeline t = run(g, {0, 3, 4});
  EXPECT_EQ(t.ms, 7);
  EXPECT_EQ(t.busy_ms[0], 7);
  EXPECT_EQ(t.steps[2].begin_ms, 3);
  EXPECT_TRUE(t.exposed_ms.empty());
}

TEST(Simulate, WireRunsBesideComputation) {
  Graph g;
  const Value x = in(g, "x"), sent = on(g, test::wire, x, "u");
  const Value other = on(g, test::plain, x);
  g.add1(test::plain, {sent, other});
  const Timeline t = run(g, {0, 5, 8, 1});
  EXPECT_EQ(t.ms, 9);
  EXPECT_EQ(t.busy_ms[static_cast<int>(Stream::kWire)], 5);
  EXPECT_EQ(t.total_exposed_ms(), 0);
}

TEST(Simulate, WhatComputationWaitsForIsExposedByUnit) {
  Graph g;
  const Value x = in(g, "x"), a = on(g, test::wire, x, "first"), b = on(g, test::wire, x, "second");
  on(g, test::plain, a);
  on(g, test::plain, b);
  const Timeline t = run(g, {0, 5, 4, 3, 2});
  EXPECT_EQ(t.exposed_ms, (std::map<std::string, double>{{"first", 5}, {"second", 1}}));
  EXPECT_EQ(t.ms, 11);
  EXPECT_EQ(t.total_exposed_ms(), 6);
}

TEST(Simulate, TheWireWaitsForWhatItSends) {
  Graph g;
  const Value x = in(g, "x");
  const Value made = on(g, test::plain, x);
  on(g, test::wire, made, "u");
  const Timeline t = run(g, {0, 3, 4});
  EXPECT_EQ(t.steps[2].begin_ms, 3);
  EXPECT_EQ(t.ms, 7);
  EXPECT_EQ(t.exposed_ms, (std::map<std::string, double>{{"end", 4}})) << "nothing is left to compute meanwhile";
}

// Two steps wait for one collective: its time is counted once.
TEST(Simulate, AWaitIsCountedWhereItIsMet) {
  Graph g;
  const Value x = in(g, "x"), sent = on(g, test::wire, x, "u");
  on(g, test::plain, sent);
  on(g, test::plain, sent);
  const Timeline t = run(g, {0, 5, 1, 1});
  EXPECT_EQ(t.total_exposed_ms(), 5);
  EXPECT_EQ(t.ms, 7);
}

TEST(Simulate, APassMayBoundWhatIsInFlight) {
  Graph g;
  const Value x = in(g, "x");
  on(g, test::wire, x, "u");
  const Value late = on(g, test::plain, x);
  g.node(g.info(late.id).node).after = {1};
  EXPECT_EQ(run(g, {0, 5, 2}).ms, 7);
  g.node(g.info(late.id).node).after.clear();
  EXPECT_EQ(run(g, {0, 5, 2}).ms, 5);
}

TEST(Simulate, OnTheCpuTheWireBeginsWhenComputationHasComeThere) {
  Graph g;
  const Value x = in(g, "x");
  on(g, test::plain, x);
  on(g, test::wire, x, "u");
  const std::vector<double> ms = {0, 3, 4};
  EXPECT_EQ(simulate(g, schedule(g), ms, Issue::kAhead).ms, 4);
  EXPECT_EQ(simulate(g, schedule(g), ms, Issue::kComputing).ms, 7);
}

}  // namespace
}  // namespace shardit

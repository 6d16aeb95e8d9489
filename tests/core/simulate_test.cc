#include "core/simulate.h"

#include <gtest/gtest.h>

#include <map>

#include "tests/core/test_ops.h"

namespace shardit {
namespace {

using test::in;

Value on(Graph& g, const OpCard& card, Value x, const std::string& unit = "") {
  const auto scope = g.unit_scope(unit.empty() ? "outside" : unit);
  return g.add1(card, {x});
}

struct Timeline {
  double computed_ms, sent_ms;  // when each stream is done
  std::map<std::string, double> exposed_ms;
  std::vector<Simulation::Span> steps;

  double total_exposed_ms() const {
    double sum = 0;
    for (const auto& [label, ms] : exposed_ms) sum += ms;
    return sum;
  }
};

// A graph by itself.
Timeline run(const Graph& g, const std::vector<double>& ms, Issue issue = Issue::kAhead) {
  const Schedule order = schedule(g);
  Simulation simulation(MemoryPlan{}, issue);
  const auto steps = simulation.run(g, order, {.meets = decltype(Handover::meets)(order.steps.size())}, ms);
  return {simulation.ms(Stream::kCompute), simulation.ms(Stream::kWire), simulation.exposed_ms(), steps};
}

TEST(Simulate, StepsOfOneStreamFollowEachOther) {
  Graph g;
  const Value x = in(g, "x");
  on(g, test::plain, on(g, test::plain, x));
  const Timeline t = run(g, {0, 3, 4});
  EXPECT_EQ(t.computed_ms, 7);
  EXPECT_EQ(t.steps[2].begin_ms, 3);
  EXPECT_TRUE(t.exposed_ms.empty());
}

TEST(Simulate, WireRunsBesideComputation) {
  Graph g;
  const Value x = in(g, "x"), sent = on(g, test::wire, x, "u");
  const Value other = on(g, test::plain, x);
  g.add1(test::plain, {sent, other});
  const Timeline t = run(g, {0, 5, 8, 1});
  EXPECT_EQ(t.computed_ms, 9);
  EXPECT_EQ(t.sent_ms, 5);
  EXPECT_EQ(t.total_exposed_ms(), 0);
}

TEST(Simulate, WhatComputationWaitsForIsExposedByUnit) {
  Graph g;
  const Value x = in(g, "x"), a = on(g, test::wire, x, "first"), b = on(g, test::wire, x, "second");
  on(g, test::plain, a);
  on(g, test::plain, b);
  const Timeline t = run(g, {0, 5, 4, 3, 2});
  EXPECT_EQ(t.exposed_ms, (std::map<std::string, double>{{"first", 5}, {"second", 1}}));
  EXPECT_EQ(t.computed_ms, 11);
  EXPECT_EQ(t.total_exposed_ms(), 6);
}

TEST(Simulate, TheWireWaitsForWhatItSends) {
  Graph g;
  const Value x = in(g, "x");
  const Value made = on(g, test::plain, x);
  on(g, test::wire, made, "u");
  const Timeline t = run(g, {0, 3, 4});
  EXPECT_EQ(t.steps[2].begin_ms, 3);
  EXPECT_EQ(t.sent_ms, 7);
  EXPECT_EQ(t.computed_ms, 3) << "nobody waits for it";
}

// Two steps wait for one collective: its time is counted once.
TEST(Simulate, AWaitIsCountedWhereItIsMet) {
  Graph g;
  const Value x = in(g, "x"), sent = on(g, test::wire, x, "u");
  on(g, test::plain, sent);
  on(g, test::plain, sent);
  const Timeline t = run(g, {0, 5, 1, 1});
  EXPECT_EQ(t.total_exposed_ms(), 5);
  EXPECT_EQ(t.computed_ms, 7);
}

TEST(Simulate, APassMayBoundWhatIsInFlight) {
  Graph g;
  const Value x = in(g, "x");
  on(g, test::wire, x, "u");
  const Value late = on(g, test::plain, x);
  g.node(g.info(late.id).node).after = {1};
  EXPECT_EQ(run(g, {0, 5, 2}).computed_ms, 7);
  g.node(g.info(late.id).node).after.clear();
  EXPECT_EQ(run(g, {0, 5, 2}).computed_ms, 2);
}

TEST(Simulate, OnTheCpuTheWireBeginsWhenComputationHasComeThere) {
  Graph g;
  const Value x = in(g, "x");
  on(g, test::plain, x);
  on(g, test::wire, x, "u");
  const std::vector<double> ms = {0, 3, 4};
  EXPECT_EQ(run(g, ms, Issue::kAhead).sent_ms, 4);
  EXPECT_EQ(run(g, ms, Issue::kComputing).sent_ms, 7);
}

// One graph sends what it made, the next one computes for 3 ms and then needs it.
TEST(Simulate, TransfersGoOnIntoTheNextGraph) {
  Graph send, use;
  const Value x = in(send, "x");
  send.keep(on(send, test::wire, on(send, test::plain, x), "u"), "sent");
  const Value other = in(use, "y"), sent = in(use, "sent");
  use.add1(test::plain, {sent, on(use, test::plain, other)});
  const Schedule first = schedule(send), second = schedule(use);
  const MemoryPlan plan = plan_memory({{&send, &first}, {&use, &second}}, 1);
  for (const auto& [wire_ms, exposed_ms] : std::map<double, double>{{2, 0}, {5, 2}}) {
    Simulation simulation(plan);
    simulation.run(send, first, find_handover(send, first, plan, 0), std::vector<double>{0, 1, wire_ms});
    simulation.run(use, second, find_handover(use, second, plan, 1), std::vector<double>{0, 0, 3, 1});
    EXPECT_EQ(simulation.ms(Stream::kCompute), 1 + 3 + exposed_ms + 1);
    EXPECT_EQ(simulation.exposed_ms().contains("u"), exposed_ms > 0);
  }
}

}  // namespace
}  // namespace shardit

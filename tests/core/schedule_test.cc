#include "core/schedule.h"

#include <gtest/gtest.h>

#include "tests/core/test_ops.h"

namespace shardit {
namespace {

using test::in;

TEST(Schedule, StreamsRunInOrder) {
  Graph g;
  const Value a = g.add1(test::plain, {in(g, "x")});
  g.add1(test::plain, {a});
  const Schedule s = schedule(g);
  EXPECT_TRUE(s.happens_before(1, 2));
  EXPECT_FALSE(s.happens_before(2, 1));
}

TEST(Schedule, WaitsOnlyWhereAValueCrossesStreams) {
  Graph g;
  const Value a = g.add1(test::plain, {in(g, "x")});  // step 1
  const Value sent = g.add1(test::wire, {a});         // step 2
  g.add1(test::plain, {a});                           // step 3
  g.add1(test::plain, {sent});                        // step 4
  const Schedule s = schedule(g);
  EXPECT_EQ(s.steps[2].waits, std::vector<int>{1});
  EXPECT_TRUE(s.steps[3].waits.empty());
  EXPECT_FALSE(s.happens_before(2, 3));
  EXPECT_EQ(s.steps[4].waits, std::vector<int>{2});
  EXPECT_TRUE(s.happens_before(2, 4));
}

TEST(Schedule, AnUpdateWaitsForReadersOnOtherStreams) {
  Graph g;
  const Value x = in(g, "x");
  g.add1(test::wire, {x});
  g.add1(test::update, {x});
  EXPECT_EQ(schedule(g).steps[2].waits, std::vector<int>{1});
}

TEST(Schedule, AnUpdateWaitsForReadersOfViewsOnOtherStreams) {
  Graph g;
  const Value x = in(g, "x"), view = g.add1(test::view, {x});
  g.add1(test::wire, {view});
  g.add1(test::update, {x});
  EXPECT_EQ(schedule(g).steps[3].waits, std::vector<int>{2});
}

TEST(Schedule, WaitsForWhatAPassPutBefore) {
  Graph g;
  const Value x = in(g, "x");
  const int first = g.info(g.add1(test::wire, {x}).id).node, next = g.info(g.add1(test::plain, {x}).id).node;
  EXPECT_FALSE(schedule(g).happens_before(first, next));
  g.node(next).after = {first};
  const Schedule s = schedule(g);
  EXPECT_EQ(s.steps[next].waits, std::vector<int>{first});
  EXPECT_TRUE(s.happens_before(first, next));
}

TEST(Schedule, PutsANodeOnTheStreamThatAPassChose) {
  Graph g;
  const Value x = in(g, "x");
  const int moved = g.info(g.add1(test::plain, {x}).id).node;
  g.node(moved).stream = Stream::kWire;
  EXPECT_EQ(schedule(g).steps[moved].stream, Stream::kWire);
}

// An input signals nothing: waiting for it would be no proof that what stands before it is over.
TEST(Schedule, NothingWaitsForAnInput) {
  Graph g;
  g.add1(test::plain, {in(g, "x")});
  const Value late = in(g, "late");
  g.add1(test::wire, {late});
  const Schedule s = schedule(g);
  EXPECT_TRUE(s.steps[3].waits.empty());
  EXPECT_FALSE(s.happens_before(1, 3));
}

}  // namespace
}  // namespace shardit

#include "core/plan.h"

#include <gtest/gtest.h>

#include "core/lifetimes.h"
#include "core/random.h"
#include "tests/core/test_ops.h"

namespace shardit {
namespace {

using test::in;

MemoryPlan plan_of(const Graph& g, const Schedule& s) { return plan_memory({{&g, &s}}, 1); }

bool share(const MemoryPlan& plan, const Graph& g, Value a, Value b) {
  const int64_t x = plan.graphs[0].values[a.id].offset, y = plan.graphs[0].values[b.id].offset;
  return x < y + g.info(b.id).type.bytes() && y < x + g.info(a.id).type.bytes();
}

TEST(MemoryPlan, ReusesDeadMemory) {
  Graph g;
  const Value a = g.add1(test::plain, {in(g, "x")}), b = g.add1(test::plain, {a}), c = g.add1(test::plain, {b});
  g.name_output(c, "c");
  const MemoryPlan plan = plan_of(g, schedule(g));
  EXPECT_TRUE(share(plan, g, a, c));
  EXPECT_FALSE(share(plan, g, a, b));
  EXPECT_EQ(plan.transient_bytes, 2 * kAlignment);
}

TEST(MemoryPlan, OutputTakesOverTheLastReadersInput) {
  Graph g;
  const Value a = g.add1(test::plain, {in(g, "x")}), b = g.add1(test::in_place, {a});
  g.name_output(b, "b");
  EXPECT_TRUE(share(plan_of(g, schedule(g)), g, a, b));
}

TEST(MemoryPlan, OutputDoesNotTakeOverWhatIsReadLater) {
  Graph g;
  const Value a = g.add1(test::plain, {in(g, "x")}), b = g.add1(test::in_place, {a});
  g.name_output(g.add1(test::plain, {a, b}), "c");
  EXPECT_FALSE(share(plan_of(g, schedule(g)), g, a, b));
}

TEST(MemoryPlan, NeverTakesOverPersistentMemory) {
  Graph g;
  const Value x = in(g, "x"), y = g.add1(test::in_place, {x});
  g.name_output(y, "y");
  EXPECT_FALSE(share(plan_of(g, schedule(g)), g, x, y));
}

// List order says that `a` is dead when `b` is made; the wire stream may still be reading it.
TEST(MemoryPlan, OtherStreamsMayStillRead) {
  Graph g;
  const Value x = in(g, "x"), a = g.add1(test::plain, {x}), sent = g.add1(test::wire, {a}),
              b = g.add1(test::plain, {x});
  g.name_output(sent, "sent");
  g.name_output(b, "b");
  const Schedule s = schedule(g);
  EXPECT_FALSE(share(plan_of(g, s), g, a, b));
}

TEST(MemoryPlan, AnEventProvesTheOtherStreamDone) {
  Graph g;
  const Value x = in(g, "x"), a = g.add1(test::plain, {x}), sent = g.add1(test::wire, {a});
  const Value joined = g.add1(test::plain, {sent});
  g.name_output(joined, "joined");
  EXPECT_TRUE(share(plan_of(g, schedule(g)), g, a, joined));
}

TEST(MemoryPlan, GraphsShareNamedBuffersAndOverlayTheRest) {
  Graph f, g;
  f.keep(f.add1(test::plain, {in(f, "x")}), "kept");
  g.name_output(g.add1(test::plain, {in(g, "kept")}), "y");
  const Schedule sf = schedule(f), sg = schedule(g);
  const MemoryPlan plan = plan_memory({{&f, &sf}, {&g, &sg}}, 1);
  EXPECT_EQ(plan.buffers.size(), 2u);
  EXPECT_EQ(plan.graphs[0].values[1].offset, plan.buffers.at("kept").offset);
  EXPECT_EQ(plan.graphs[1].values[0].offset, plan.buffers.at("kept").offset);
}

OpCard scratching(Stream stream, int64_t (*bytes)(const NodeTypes&, int)) {
  OpCard c = test::card("scratching", stream);
  c.workspace = bytes;
  return c;
}

// Nodes of one stream run one after another; those of two streams side by side.
TEST(MemoryPlan, StreamsHaveScratchOfTheirOwnAndShareItWithin) {
  static const OpCard computing =
      scratching(Stream::kCompute, [](const NodeTypes&, int threads) -> int64_t { return 100 * threads; });
  static const OpCard sending = scratching(Stream::kWire, [](const NodeTypes&, int) -> int64_t { return 1000; });
  Graph g;
  const Value a = g.add1(computing, {in(g, "x")}), b = g.add1(sending, {a}), c = g.add1(computing, {a});
  g.name_output(b, "b"), g.name_output(c, "c");
  const Schedule s = schedule(g);
  const MemoryPlan plan = plan_memory({{&g, &s}}, 3);
  const std::vector<int64_t>& at = plan.graphs[0].workspace;
  EXPECT_EQ(at[0], -1) << "an input has none";
  EXPECT_EQ(at[1], at[3]);
  EXPECT_EQ(at[2], at[1] + 2 * kAlignment) << "behind 300 bytes, rounded up";
  EXPECT_EQ(plan.workspace_bytes, 6 * kAlignment);
}

TEST(MemoryPlan, ClassesAddUpToTheArena) {
  Graph g;
  g.keep(g.add1(test::plain, {input(g, "w", {DType::kF32, {1000}}, BufferClass::kParameters)}), "grad",
         BufferClass::kGradients);
  const MemoryPlan plan = plan_of(g, schedule(g));
  int64_t sum = 0;
  for (const auto& [buffer_class, bytes] : plan.bytes_by_class()) sum += bytes;
  EXPECT_EQ(sum, plan.arena_bytes);
}

// Random graphs on two streams: whatever shares bytes is proven apart by the schedule.
TEST(MemoryPlan, NeverOverlapsLiveTensors) {
  const Philox philox(3, Purpose::kSynthetic);
  for (int trial = 0; trial < 60; ++trial) {
    Graph g;
    std::vector<Value> values = {in(g, "x", 64)};
    int draw = 0;
    const auto pick = [&](int n) { return static_cast<int>(integer_at(philox, trial, draw++, n)); };
    for (int i = 0; i < 40; ++i) {
      const OpCard* cards[] = {&test::plain, &test::wire, &test::in_place};
      values.push_back(g.add1(*cards[pick(3)], {values[pick(static_cast<int>(values.size()))],
                                                values[pick(static_cast<int>(values.size()))]}));
    }
    g.name_output(values.back(), "y");
    const Schedule s = schedule(g);
    const MemoryPlan plan = plan_of(g, s);
    const Lifetimes lifetimes = find_lifetimes(g, s);
    for (const Value& a : values)
      for (const Value& b : values) {
        const int ba = lifetimes.windows[a.id].buffer, bb = lifetimes.windows[b.id].buffer;
        if (ba == bb || !share(plan, g, a, b)) continue;
        EXPECT_FALSE(may_overlap(s, lifetimes.buffers[ba], lifetimes.buffers[bb])) << "trial " << trial;
      }
  }
}

}  // namespace
}  // namespace shardit

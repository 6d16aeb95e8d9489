#include "dist/collective_ops.h"

#include <gtest/gtest.h>

#include "core/error.h"
#include "core/program.h"
#include "dist/thread_world.h"

namespace shardit {
namespace {

using Collective = Value (*)(Value, const Group&, const std::string&);

// What each rank holds after `collective` of a buffer of n numbers: 100 * rank, 100 * rank + 1, …
std::vector<std::vector<float>> after(Collective collective, int ranks, int64_t n) {
  std::vector<std::vector<float>> results(static_cast<size_t>(ranks));
  run_ranks(ranks, {}, [&](World& world) {
    const Mesh mesh = make_mesh(world, 1);
    Graph graph;
    const Value x = input(graph, "x", {DType::kF32, {n}}, BufferClass::kActivations);
    const Value y = collective(x, mesh.shard, "test");
    std::vector<float>& result = results[world.rank()];
    result.resize(static_cast<size_t>(y.shape().numel()));
    graph.keep(y, "y", BufferClass::kWire);
    const auto device = make_cpu_device();
    Pool pool(1);
    Program program(compile({{"g", graph}}, 1), *device, pool);
    std::vector<float> values;
    for (int64_t i = 0; i < n; ++i) values.push_back(static_cast<float>(100 * world.rank() + i));
    program.upload("x", values.data(), n * static_cast<int64_t>(sizeof(float)));
    program.run("g");
    program.download("y", result.data(), static_cast<int64_t>(result.size() * sizeof(float)));
  });
  return results;
}

TEST(CollectiveOps, AllGatherPutsEveryRanksPartInOrder) {
  const std::vector<float> all = {0, 1, 100, 101, 200, 201};
  EXPECT_EQ(after(all_gather, 3, 2), (std::vector<std::vector<float>>{all, all, all}));
}

TEST(CollectiveOps, AllToAllGivesEachRankItsPartOfAll) {
  EXPECT_EQ(after(all_to_all, 3, 6),
            (std::vector<std::vector<float>>{
                {0, 1, 100, 101, 200, 201}, {2, 3, 102, 103, 202, 203}, {4, 5, 104, 105, 204, 205}}));
}

TEST(CollectiveOps, ReduceScatterGivesEachRankTheSumOfItsPart) {
  EXPECT_EQ(after(reduce_scatter, 3, 6), (std::vector<std::vector<float>>{{300, 303}, {306, 309}, {312, 315}}));
}

TEST(CollectiveOps, AGroupOfOneHasNoNode) {
  Graph graph;
  const Value x = input(graph, "x", {DType::kF32, {4}}, BufferClass::kActivations);
  const Group alone = plan_mesh(1, 0, 1).shard;
  EXPECT_EQ(all_gather(x, alone, "a").id, x.id);
  EXPECT_EQ(all_to_all(x, alone, "a").id, x.id);
  EXPECT_EQ(reduce_scatter(x, alone, "a").id, x.id);
}

TEST(CollectiveOps, CountWhatARankSends) {
  Graph graph;
  const Value x = input(graph, "x", {DType::kF32, {8}}, BufferClass::kActivations);
  const Group four = plan_mesh(4, 0, 1).shard;
  const auto wire_bytes = [&](Value y) {
    const Node& node = graph.producer(y.id);
    EXPECT_EQ(node.stream, Stream::kWire);
    return node.card->cost(types_of(graph, node)).wire_bytes;
  };
  EXPECT_EQ(wire_bytes(all_gather(x, four, "a")), 3 * 8 * 4) << "a rank passes on three parts of 32 bytes";
  EXPECT_EQ(wire_bytes(all_to_all(x, four, "a")), 3 * 2 * 4) << "three of its four parts";
  EXPECT_EQ(wire_bytes(reduce_scatter(x, four, "a")), 3 * 2 * 4);
}

TEST(CollectiveOps, PartsMustBeEqual) {
  Graph graph;
  const Value x = input(graph, "x", {DType::kF32, {7}}, BufferClass::kActivations);
  EXPECT_THROW(all_to_all(x, plan_mesh(4, 0, 1).shard, "a"), UserError);
  EXPECT_THROW(reduce_scatter(x, plan_mesh(4, 0, 1).shard, "a"), UserError);
}

TEST(CollectiveOpsDeathTest, AGraphThatWasMadeToBePlannedCannotRun) {
  Graph graph;
  const Value x = input(graph, "x", {DType::kF32, {4}}, BufferClass::kActivations);
  graph.keep(all_gather(x, plan_mesh(2, 0, 1).shard, "a"), "y", BufferClass::kWire);
  const auto device = make_cpu_device();
  Pool pool(1);
  Program program(compile({{"g", graph}}, 1), *device, pool);
  EXPECT_DEATH((program.run("g"), program.synchronize()), "made to be planned cannot run");
}

}  // namespace
}  // namespace shardit

#include "launcher/cluster.h"

#include <gtest/gtest.h>

#include <array>

#include "core/error.h"
#include "launcher/config.h"
#include "ops/ops.h"
#include "tests/launcher/small_cluster.h"

namespace shardit {
namespace {

Value operand(Graph& g, const char* name, Shape shape, DType dtype = DType::kF32) {
  return input(g, name, {dtype, shape}, BufferClass::kActivations);
}
const Node& last_node(const Graph& g) { return g.node(g.node_count() - 1); }
double ms_of(const Cluster& cluster, const Graph& g) {
  return kernel_ms(cluster, types_of(g, last_node(g)), *last_node(g).card);
}

std::string complaint_about(const std::string& text) {
  try {
    parse_cluster(text, "machines.textproto", {}, 1);
  } catch (const UserError& error) {
    return error.what();
  }
  return "";
}

TEST(Cluster, ThoseKnownByNameCanBeLoaded) {
  for (const std::string& name : cluster_names()) {
    const Cluster cluster = load_cluster(name, {}, 1);
    EXPECT_EQ(cluster.name, name);
    EXPECT_GT(cluster.ceilings.fp32_flops_per_s, 1e9) << name;
    EXPECT_GT(cluster.ceilings.bytes_per_s(1e9), 1e8) << name;
    EXPECT_GT(cluster.inside.gb_per_s, cluster.across.gb_per_s) << name;
    EXPECT_FALSE(cluster.about.empty()) << name << " says where its numbers come from";
  }
}

TEST(Cluster, AProductTakesItsFlopsAtTheShareThatItReaches) {
  for (DType dtype : {DType::kF32, DType::kBF16}) {
    Graph g;
    linear(operand(g, "x", {128, 64}, dtype), operand(g, "w", {256, 64}, dtype), {});
    const double flops = 2 * 128 * 64 * 256, seconds = dtype == DType::kF32 ? flops / 1e9 / 0.8 : flops / 2e9 / 0.4;
    EXPECT_NEAR(ms_of(small_cluster(), g), seconds * 1e3, 1e-9) << name_of(dtype);
  }
}

TEST(Cluster, OtherOpsTakeTheirBytesAndNoKernelLessThanTheLeast) {
  Graph large, small;
  copy(operand(large, "x", {1 << 20}));  // 8 MiB read and written
  copy(operand(small, "x", {1}));
  EXPECT_NEAR(ms_of(small_cluster(), large), 8388608 / 1e10 * 1e3 / 0.5, 1e-9);
  EXPECT_EQ(ms_of(small_cluster(), small), 0.002);
}

TEST(Cluster, BytesApartAreAddedToTheFlops) {
  Cluster cluster = small_cluster();
  Graph g;
  linear(operand(g, "x", {128, 64}), operand(g, "w", {256, 64}), {});
  const double beside = ms_of(cluster, g), bytes = 4.0 * (128 * 64 + 256 * 64 + 128 * 256);
  cluster.of_limit.at("linear").bytes_apart = 0.25;
  EXPECT_NEAR(ms_of(cluster, g) - beside, bytes / 1e10 * 1e3 / 0.25, 1e-9);
}

// inside: 10 GB/s and 1 us a step; across: 1 GB/s and 10 us.
TEST(Cluster, ARingOnOneNodeKnowsItsLinkAlone) {
  EXPECT_NEAR(collective_ms(small_cluster(), {"shard", 8, false}, 8, 1e7), 1 + 7e-3, 1e-9);
}

TEST(Cluster, RanksOfANodeShareItsWayOutAroundARing) {
  const Cluster c = small_cluster();
  EXPECT_NEAR(collective_ms(c, {"world", 8, false}, 4, 1e7), 2.5 + 6e-3 + 10e-3, 1e-9) << "four ways out of 1 GB/s";
  EXPECT_NEAR(collective_ms(c, {"replicate", 8, false}, 1, 1e7), 10 + 70e-3, 1e-9) << "one";
  EXPECT_NEAR(collective_ms(c, {"world", 64, false}, 32, 1e7), 1 + 62e-3 + 10e-3, 1e-9) << "no more than inside";
}

TEST(Cluster, WhatIsSentDirectlyTakesTheSlowerOfBothWays) {
  const Cluster c = small_cluster();
  EXPECT_NEAR(collective_ms(c, {"shard", 8, true}, 8, 7e6), 0.7 + 7e-3, 1e-9) << "all inside";
  EXPECT_NEAR(collective_ms(c, {"shard", 8, true}, 4, 7e6), 4 + 40e-3, 1e-9) << "four sevenths leave the node";
}

TEST(Cluster, OfAGroupThoseOfRank0sNodeCount) {
  // 16 ranks in two shard groups of 8, nodes of 4: of the shard group 4 are on a node, of the replicate group 1.
  const Mesh mesh = plan_mesh(16, 0, 2);
  Cluster c = small_cluster();
  c.ranks_per_node = 4;
  Graph g;
  const Value x = operand(g, "x", {16 << 10});
  all_to_all(x, mesh.shard, "test");
  const double direct = collective_ms(c, {"shard", 8, true}, 4, 7.0 / 8 * 65536);
  EXPECT_NEAR(pace_of(c, mesh).node_ms(g, last_node(g)), direct, 1e-9);
  all_gather(x, mesh.replicate, "test");
  EXPECT_NEAR(pace_of(c, mesh).node_ms(g, last_node(g)), collective_ms(c, {"replicate", 2, false}, 1, 65536), 1e-9);
}

TEST(Cluster, AFileIsToldWhatIsWrongAndWhere) {
  EXPECT_EQ(complaint_about(kSmallCluster), "");
  EXPECT_NE(complaint_about("\n  gpu: true").find("machines.textproto:2: "), std::string::npos);
  EXPECT_NE(complaint_about("gpus: true").find("copies_gb_per_s is not given"), std::string::npos)
      << complaint_about("gpus: true");
  const std::string misspelt = std::string(kSmallCluster) + "op { card: 'linaer' of_limit: 1 }";
  EXPECT_NE(complaint_about(misspelt).find("no op 'linaer': did you mean 'linear'?"), std::string::npos);
  for (const auto& [key, good, bad] : std::vector<std::array<const char*, 3>>{{"memory_gib", " 1 ", " nan "},
                                                                              {"memory_gib", " 1 ", " 1e300 "},
                                                                              {"ranks_per_node", " 8 ", " -8 "},
                                                                              {"kernel_us", " 2 ", " -1 "},
                                                                              {"gb_per_s", " 10 ", " inf "}}) {
    std::string text = kSmallCluster;
    const std::string from = std::string(key) + ":" + good;
    text.replace(text.find(from), from.size(), std::string(key) + ":" + bad);
    EXPECT_NE(complaint_about(text).find(std::string(key) + " is "), std::string::npos) << text;
  }
  const std::string impossible = std::string(kSmallCluster) + "op { card: 'linear' of_limit: -1 }";
  EXPECT_NE(complaint_about(impossible).find("of_limit of an op is not given, or not greater than 0 and below 1e9"),
            std::string::npos);
}

TEST(Cluster, ANameThatIsNoFileIsToldTheNames) {
  try {
    load_cluster("dgx", {}, 1);
    ADD_FAILURE();
  } catch (const UserError& error) {
    for (const char* part : {"--cluster dgx", "h200-ib400", "h100-ib400", "cpu"})
      EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace shardit

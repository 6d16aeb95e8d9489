// Nothing that is done for speed or memory changes a bit of what a training step leaves behind.
#include <gtest/gtest.h>

#include "tests/step/tiny_run.h"

namespace shardit {
namespace {

using test::after_two_steps;
using test::expect_same_bits;
using test::Lowering;
using test::State;
using test::tiny_config;
using test::TinyRun;

struct Variant {
  const char* name;
  std::vector<std::string> sets;
  friend void PrintTo(const Variant& v, std::ostream* out) { *out << v.name; }
};

class Bits : public testing::TestWithParam<Variant> {
 protected:
  RunConfig config = tiny_config(GetParam().sets);
  State expected = after_two_steps(TinyRun(config, Lowering{.fused = false, .hoisted = false, .apart = true}));
};

TEST_P(Bits, TheReferenceLearns) {
  TinyRun run(config);
  run.step();
  const float first = run.loss();
  for (int s = 1; s < 6; ++s) run.step();
  EXPECT_GT(first, 0);
  EXPECT_TRUE(std::isfinite(run.loss()));
  double norm[3];
  run.program().download("step.norm", norm, sizeof norm);
  EXPECT_GT(norm[0], 0);
  EXPECT_EQ(norm[2], 1) << "every gradient is finite";
}

TEST_P(Bits, SharingBytesChangesNothing) {
  for (const Recompute policy : {Recompute::kNone, Recompute::kSelective, Recompute::kBlock}) {
    const Lowering shared{.recompute = policy}, apart{.recompute = policy, .apart = true};
    const State one = after_two_steps(TinyRun(config, shared)), other = after_two_steps(TinyRun(config, apart));
    expect_same_bits(one, other, "recompute " + std::to_string(static_cast<int>(policy)));
  }
}

TEST_P(Bits, SharingBytesSavesMemory) {
  TinyRun shared(config), apart(config, Lowering{.apart = true});
  EXPECT_LT(shared.program().memory().transient_bytes, apart.program().memory().arena_bytes / 3);
  EXPECT_EQ(apart.program().memory().transient_bytes, 0);
}

TEST_P(Bits, FusingChangesNothing) {
  expect_same_bits(after_two_steps(TinyRun(config, Lowering{.fused = false})), expected, "not fused");
  expect_same_bits(after_two_steps(TinyRun(config, Lowering{})), expected, "fused");
}

TEST_P(Bits, HoistingConstantsChangesNothing) {
  expect_same_bits(after_two_steps(TinyRun(config, Lowering{.hoisted = false})), expected, "not hoisted");
}

TEST_P(Bits, RecomputingChangesNothing) {
  for (const Recompute policy : {Recompute::kSelective, Recompute::kBlock})
    for (const bool fused : {false, true})
      expect_same_bits(after_two_steps(TinyRun(config, Lowering{.recompute = policy, .fused = fused})), expected,
                       "recompute " + std::to_string(static_cast<int>(policy)) + (fused ? ", fused" : ", not fused"));
}

TEST_P(Bits, RecomputingABlockSavesMemory) {
  std::vector<std::string> sets = GetParam().sets;
  for (const char* set : {"model.depth=6", "model.input_size=16"}) sets.push_back(set);
  TinyRun kept(tiny_config(sets)), again(tiny_config(sets), Lowering{.recompute = Recompute::kBlock});
  EXPECT_LT(again.program().memory().transient_bytes, kept.program().memory().transient_bytes * 3 / 4);
}

double matmul_flops(const RunConfig& config, Recompute policy) {
  double flops = 0;
  for (const NamedGraph& g : test::tiny_graphs(make_setup(config), {.recompute = policy}))
    for (int n = 0; n < g.graph.node_count(); ++n)
      flops += g.graph.node(n).card->cost(types_of(g.graph, g.graph.node(n))).matmul_flops;
  return flops;
}

TEST_P(Bits, SelectiveRecomputationRepeatsNoProduct) {
  const double kept = matmul_flops(config, Recompute::kNone);
  EXPECT_EQ(matmul_flops(config, Recompute::kSelective), kept);
  EXPECT_GT(matmul_flops(config, Recompute::kBlock), 1.2 * kept);
}

TEST_P(Bits, ThreadsChangeNothing) {
  expect_same_bits(after_two_steps(TinyRun(config, Lowering{}, 3)), expected, "three threads");
  expect_same_bits(after_two_steps(TinyRun(config, Lowering{}, 3, Pool::Deal::kShuffled)), expected, "shuffled tiles");
}

TEST_P(Bits, TheRunsOwnProgramIsTheSame) {
  RunProgramOptions options = run_program_options(config, make_setup(config));
  expect_same_bits(after_two_steps(TinyRun(config, compile_run(make_setup(config), options, 1))), expected,
                   "compile_run");
}

INSTANTIATE_TEST_SUITE_P(Configs, Bits,
                         testing::Values(Variant{"DdpmInFp32", {}}, Variant{"DdpmInBf16", test::kDdpmInBf16},
                                         Variant{"EdmInBf16", test::kEdmInBf16}),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace shardit

#include "launcher/agreement.h"

#include <gtest/gtest.h>

#include "core/error.h"
#include "dist/thread_world.h"
#include "launcher/config.h"
#include "launcher/run_program.h"

namespace shardit {
namespace {

RunConfig config_of(const std::vector<std::string>& sets) {
  return parse_config(
      "global_batch_size: 12  micro_batch_size: 2\n"
      "model { input_size: 8  in_channels: 1  patch_size: 4  hidden_size: 16  depth: 2  num_heads: 2  num_classes: 3 "
      "}\n"
      "data { kind: synthetic  images: 25 }  sample { sampler: ddpm  steps: 3 }",
      "test", sets);
}

// What rank 0 of three says; empty if all went well.
std::string said(const std::function<void(Ranks&)>& check) {
  try {
    run_ranks(3, {}, [&](World& world) {
      Ranks ranks(world);
      check(ranks);
    });
  } catch (const Error& error) {
    EXPECT_TRUE(error.everywhere) << error.what();
    return error.what();
  }
  return "";
}

TEST(Agreement, TheSameStartIsFine) {
  EXPECT_EQ(said([](Ranks& ranks) { check_same_start(ranks, config_of({}), {.run_dir = "r"}); }), "");
}

TEST(Agreement, AnotherConfigIsToldWithTheRankAndTheKey) {
  const std::string text = said([](Ranks& ranks) {
    const std::string lr = ranks.rank() == 2 ? "optimizer.lr=1e-3" : "optimizer.lr=2e-3";
    check_same_start(ranks, config_of({lr}), {.run_dir = "r"});
  });
  EXPECT_NE(text.find("rank 2 of 3: was started with another config than rank 0: optimizer.lr is 0.001, there it is 0.002"),
            std::string::npos)
      << text;
}

TEST(Agreement, OtherFlagsAreToldWithTheRank) {
  const std::string text = said([](Ranks& ranks) {
    check_same_start(ranks, config_of({}), {.run_dir = "r", .steps = ranks.rank() == 1 ? 5 : 6});
  });
  EXPECT_NE(text.find("rank 1 of 3: was started with other flags than rank 0"), std::string::npos) << text;
  EXPECT_NE(text.find("--steps 5"), std::string::npos) << text;
}

TEST(Agreement, OtherCollectivesAreToldWithTheFirstThatDiffers) {
  const auto compiled = [](int rank, int stage) {
    const RunConfig config = config_of({"parallel.zero_stage=" + std::to_string(stage)});
    const RunSetup setup = make_setup(config, plan_mesh(3, rank, 1));
    return compile_run(setup, run_program_options(config, setup), 1);
  };
  EXPECT_EQ(said([&](Ranks& ranks) { check_same_collectives(ranks, compiled(ranks.rank(), 3)); }), "");
  const std::string text =
      said([&](Ranks& ranks) { check_same_collectives(ranks, compiled(ranks.rank(), ranks.rank() == 1 ? 2 : 3)); });
  EXPECT_NE(text.find("rank 1 of 3: would call other collectives than rank 0: '"), std::string::npos) << text;
  EXPECT_NE(text.find("all_gather of"), std::string::npos) << text;
}

TEST(Agreement, AnErrorOfOneRankIsTheErrorOfAll) {
  const std::string text = said([](Ranks& ranks) {
    try {
      ranks.together("work", [&] { REQUIRE(ranks.rank() != 1, "only here"); });
      FAIL() << "rank " << ranks.rank() << " went on";
    } catch (const UserError& error) {
      EXPECT_EQ(error.what(), std::string("rank 1 of 3: only here"));
      throw;
    }
  });
  EXPECT_EQ(text, "rank 1 of 3: only here");
}

TEST(Agreement, TextsOfAnyLengthReachAll) {
  run_ranks(4, {}, [](World& world) {
    Ranks ranks(world);
    const std::string mine(static_cast<size_t>(world.rank() * 1000), static_cast<char>('a' + world.rank()));
    const auto all = ranks.all_texts("texts", mine);
    for (int r = 0; r < 4; ++r)
      EXPECT_EQ(all[r], std::string(static_cast<size_t>(r * 1000), static_cast<char>('a' + r)));
    EXPECT_EQ(ranks.from_first("first", mine + "x"), "x");
    EXPECT_TRUE(ranks.any("any", world.rank() == 3));
    EXPECT_FALSE(ranks.any("none", false));
  });
}

}  // namespace
}  // namespace shardit

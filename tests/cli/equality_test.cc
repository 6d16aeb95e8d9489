// One digest: what may not change a bit, on a model small enough to run a dozen times.
#include <nlohmann/json.hpp>
#include <sstream>

#include "tests/cli/program.h"

namespace shardit {
namespace {

const Words kTenSteps = {"--steps", "10"};
const Words kBf16 = {"--set", "precision.compute=bf16", "--set", "precision.reduce=bf16",
                     "--set", "precision.residual=bf16"};

Words ten_steps(const Words& sets) {
  Words words = kTenSteps;
  for (const std::string& set : sets) words.insert(words.end(), {"--set", set});
  return words;
}

// The digest after 20 steps made in two starts.
std::string digest_of_two_starts(const Words& first, const Words& second) {
  const TestFolder folder;
  EXPECT_TRUE(succeeds(train(folder / "halves", first)));
  const Ran resumed = train(folder / "halves", second);
  EXPECT_TRUE(succeeds(resumed));
  EXPECT_TRUE(contains(resumed.out, "resumed from"));
  return digest_of(folder / "halves");
}

TEST(OneDigest, TheSameCommandTwice) { EXPECT_EQ(digest_after({}), digest_after({})); }

TEST(OneDigest, AnySeedOtherThanThisGivesAnother) {
  EXPECT_NE(digest_after(kTenSteps), digest_after(ten_steps({"seed=4"})));
}

TEST(OneDigest, AnyNumberOfComputeThreads) {
  const std::string one = digest_after(kTenSteps, {.environment = {{"OMP_NUM_THREADS", "1"}}});
  for (const char* threads : {"2", "3"})
    EXPECT_EQ(digest_after(kTenSteps, {.environment = {{"OMP_NUM_THREADS", threads}}}), one) << threads;
}

TEST(OneDigest, AnyNumberOfLoaderThreads) {
  const std::string one = digest_after(ten_steps({"data.threads=1"}));
  for (const char* threads : {"data.threads=2", "data.threads=5"})
    EXPECT_EQ(digest_after(ten_steps({threads, "data.prefetch=7"})), one) << threads;
}

TEST(OneDigest, EveryRecomputation) {
  const std::string none = digest_after(ten_steps({"parallel.recompute=none"}));
  for (const char* policy : {"parallel.recompute=block", "parallel.recompute=selective"})
    EXPECT_EQ(digest_after(ten_steps({policy})), none) << policy;
}

TEST(OneDigest, SavingBesideTrainingOrBetweenSteps) {
  const std::string beside = digest_after(ten_steps({"checkpoint.every_steps=2"}));
  EXPECT_EQ(digest_after(ten_steps({"checkpoint.every_steps=2", "checkpoint.async=false"})), beside);
}

TEST(OneDigest, EveryZeroStageOnOneRank) {
  const std::string zero = digest_after(kTenSteps);
  for (const char* stage : {"1", "2", "3"})
    EXPECT_EQ(digest_after(ten_steps({std::string("parallel.zero_stage=") + stage})), zero) << stage;
}

TEST(OneDigest, WatchingTheRunChangesNothing) {
  const Words watched = ten_steps({"sample.every_steps=3", "validation.every_steps=2"});
  EXPECT_EQ(digest_after(watched), digest_after(ten_steps({"validation.every_steps=0"})));
}

TEST(OneDigest, StraightOrInTwoStarts) {
  const std::string straight = digest_after({"--steps", "20"});
  EXPECT_EQ(digest_of_two_starts({"--steps", "10"}, {"--steps", "20"}), straight);
  EXPECT_EQ(digest_of_two_starts({"--steps", "7"}, {"--steps", "20"}), straight);
}

TEST(OneDigest, ResumesWithAnotherRecomputationThreadsAndSaving) {
  const Words second = {"--steps", "20",
                        "--set",   "parallel.recompute=block",
                        "--set",   "data.threads=5",
                        "--set",   "checkpoint.async=false"};
  EXPECT_EQ(digest_of_two_starts({"--steps", "10"}, second), digest_after({"--steps", "20"}));
}

TEST(OneDigest, EveryFoldGroupResumesToItsOwn) {
  for (const char* group : {"1", "4", "7", "12"}) {
    const std::string set = std::string("parallel.fold_group=") + group;
    EXPECT_EQ(digest_of_two_starts({"--steps", "10", "--set", set}, {"--steps", "20", "--set", set}),
              digest_after({"--steps", "20", "--set", set}))
        << set;
  }
}

TEST(OneDigest, TheOrderOfFoldingIsPartOfTheArithmetic) {
  const std::string five = digest_after(ten_steps({"parallel.fold_group=5"}));
  EXPECT_NE(digest_after(ten_steps({"parallel.fold_group=4"})), five);
  EXPECT_EQ(digest_after(ten_steps({"parallel.fold_group=12"})), digest_after(ten_steps({"parallel.fold_group=1"})))
      << "one group of all and groups of one are the same plain left fold";
}

TEST(OneDigest, HoldsInBf16) {
  const auto with = [](Words words) {
    words.insert(words.end(), kBf16.begin(), kBf16.end());
    return words;
  };
  const std::string straight = digest_after(with({"--steps", "20"}));
  EXPECT_NE(straight, digest_after({"--steps", "20"}));
  EXPECT_EQ(digest_after(with({"--steps", "20"}), {.environment = {{"OMP_NUM_THREADS", "2"}}}), straight);
  EXPECT_EQ(digest_after(with({"--steps", "20", "--set", "parallel.recompute=block"})), straight);
  EXPECT_EQ(digest_after(with({"--steps", "20", "--set", "checkpoint.async=false"})), straight);
  EXPECT_EQ(digest_of_two_starts(with({"--steps", "10"}), with({"--steps", "20"})), straight);
}

// The digests that an AMD EPYC with AVX2 and an Intel Xeon with AVX-512 both gave. They are those of one C library as
// well, glibc 2.36: another's exp, log, sin and cos in fp64 may have other last digits.
TEST(OneDigest, OfEveryProcessor) {
  EXPECT_EQ(digest_after({}), "digest 0fe6388d69b3c88844aeff38ffa8a060\n");
  EXPECT_EQ(digest_after(kBf16, {.environment = {{"ONEDNN_MAX_CPU_ISA", "AVX2"}}}),
            "digest 06d824dd9603e46383c0b5ce2790c7e6\n")
      << "without the processor's own bf16 products";
}

// Guards the config: a proof of equality is worth something only where these happen.
TEST(EqualityConfig, ClipsSomeStepsAndFoldsTwelveMicroBatches) {
  const TestFolder folder;
  ASSERT_TRUE(succeeds(train(folder / "run")));
  std::istringstream lines(bytes_of_file(folder / "run/metrics.jsonl"));
  int clipped = 0, free = 0;
  for (std::string line; std::getline(lines, line);) {
    const auto json = nlohmann::json::parse(line);
    if (json.contains("event")) continue;
    ++(json.at("grad_norm").get<double>() > 0.2 ? clipped : free);
  }
  EXPECT_EQ(clipped + free, 40);
  EXPECT_GE(clipped, 5);
  EXPECT_GE(free, 5);
  const auto plan = nlohmann::json::parse(run({"plan", tiny_config(), "--json"}).out);
  EXPECT_EQ(plan.at("micro_batches"), 12);
}

}  // namespace
}  // namespace shardit

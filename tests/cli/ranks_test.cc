// Jobs of several processes under mpirun: the digest of one rank, whatever the number, the stage and the restarts.
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>

#include "tests/cli/program.h"

namespace shardit {
namespace {

Words steps(int count, int stage, const Words& sets = {}) {
  Words words = {"--steps", std::to_string(count), "--set", "parallel.zero_stage=" + std::to_string(stage)};
  for (const std::string& set : sets) words.insert(words.end(), {"--set", set});
  return words;
}

// mpirun says nothing on standard error when a job ends well.
std::string digest_of_job(int ranks, const Words& flags, const std::string& threads = "1") {
  return digest_after(flags, {.environment = {{"OMP_NUM_THREADS", threads}}, .ranks = ranks});
}

TEST(Job, AnyNumberOfRanksAtAnyStageGivesOneDigest) {
  const std::string one = digest_after(steps(10, 0));
  for (int stage : {0, 1, 2, 3}) EXPECT_EQ(digest_of_job(2, steps(10, stage)), one) << "2 ranks, stage " << stage;
  EXPECT_EQ(digest_of_job(1, steps(10, 3)), one) << "mpirun -np 1";
  EXPECT_EQ(digest_of_job(3, steps(10, 2)), one);
  EXPECT_EQ(digest_of_job(4, steps(10, 3)), one);
  EXPECT_EQ(digest_of_job(2, steps(10, 3), "2"), one) << "2 compute threads each";
}

TEST(Job, HoldsInBf16) {
  const Words bf16 = {"precision.compute=bf16", "precision.reduce=bf16", "precision.residual=bf16"};
  const std::string one = digest_after(steps(10, 0, bf16));
  EXPECT_EQ(digest_of_job(2, steps(10, 2, bf16)), one);
  EXPECT_EQ(digest_of_job(3, steps(10, 3, bf16)), one);
}

TEST(Job, TwoLevelGroupsGiveTheDigestToo) {
  const Words sets = {"parallel.replicate_group=2", "parallel.fold_group=2"};
  EXPECT_EQ(digest_of_job(4, steps(10, 3, sets)), digest_after(steps(10, 0, {"parallel.fold_group=2"})));
}

TEST(Job, ResumesOnAnotherNumberOfRanksAtAnotherStage) {
  const TestFolder folder;
  const std::string run = folder / "run";
  ASSERT_TRUE(succeeds(train(run, steps(7, 3), {.ranks = 3})));
  const Ran second = train(run, steps(12, 1), {.ranks = 2});
  ASSERT_TRUE(succeeds(second));
  EXPECT_TRUE(contains(second.out, "resumed from"));
  ASSERT_TRUE(succeeds(train(run, steps(15, 0), {.ranks = 4})));
  ASSERT_TRUE(succeeds(train(run, steps(20, 3))));
  EXPECT_EQ(digest_of(run), digest_after(steps(20, 0)));
}

TEST(Job, WritesOneLineAStepWithItsRanks) {
  const TestFolder folder;
  const Ran ran = train(folder / "run", steps(5, 2), {.ranks = 2});
  ASSERT_TRUE(succeeds(ran));
  EXPECT_TRUE(contains(ran.out, "2 ranks, ZeRO stage 2"));
  EXPECT_TRUE(contains(ran.out, "comm exposed"));
  EXPECT_EQ(steps_logged(folder / "run"), 5);
}

TEST(Job, SamplesAreThoseOfOneRank) {
  const TestFolder folder;
  ASSERT_TRUE(succeeds(train(folder / "run", steps(5, 0))));
  const auto sample = [&](const std::string& out, int ranks) {
    EXPECT_TRUE(succeeds(run({"sample", folder / "run", "--npz", folder / out, "--num", "13"}, {.ranks = ranks})));
    return bytes_of_file(folder / out);
  };
  EXPECT_EQ(sample("two.npz", 2), sample("one.npz", 0));
  EXPECT_EQ(sample("three.npz", 3), sample("one.npz", 0));
}

TEST(Job, WhatOneProcessDoesIsDoneAndPrintedOnce) {
  const TestFolder folder;
  const std::string run_dir = folder / "run", weights = folder / "w.safetensors";
  ASSERT_TRUE(succeeds(train(run_dir, steps(2, 0))));
  for (const Words& words : std::vector<Words>{{"--help"},
                                               {"plan", tiny_config(), "--json"},
                                               {"doctor"},
                                               {"bench", "data", tiny_config(), "--help"},
                                               {"checkpoint", "inspect", run_dir},
                                               {"checkpoint", "verify", run_dir},
                                               {"checkpoint", "diff", run_dir, run_dir}}) {
    const Ran job = run(words, {.ranks = 3});
    EXPECT_TRUE(succeeds(job));
    EXPECT_EQ(std::count(job.out.begin(), job.out.end(), '\n'), std::ranges::count(run(words).out, '\n')) << words[0];
  }
  EXPECT_TRUE(succeeds(run({"checkpoint", "reshard", run_dir, folder / "b", "--ranks", "2"}, {.ranks = 3})));
  EXPECT_TRUE(succeeds(run({"checkpoint", "export", run_dir, weights}, {.ranks = 3})));
  EXPECT_TRUE(succeeds(run({"checkpoint", "import", weights, folder / "c", "--config", tiny_config()}, {.ranks = 3})));
  EXPECT_TRUE(succeeds(run({"report", run_dir}, {.ranks = 3})));
}

TEST(Job, AWrongNumberOfRanksIsToldWithTheRight) {
  const TestFolder folder;
  const Ran ran = train(folder / "run", {}, {.ranks = 5});
  EXPECT_EQ(ran.code, 2);
  EXPECT_TRUE(contains(ran.err, "5 ranks do not divide the step's 12 micro-batches"));
  EXPECT_TRUE(contains(ran.err, "start 1, 2, 3, 4, 6, 12 ranks"));
}

TEST(Job, ARunDirectoryThatIsInUseIsRefusedOnce) {
  const TestFolder folder;
  Started first(training(folder / "run", {"--set", "steps=100000"}));
  ASSERT_TRUE(wait_for_steps(folder / "run", 2));
  const Ran ran = train(folder / "run", {"--set", "steps=100000"}, {.ranks = 2});
  EXPECT_EQ(ran.code, 2);
  EXPECT_TRUE(contains(ran.err, "shardit: "));
  first.send(SIGTERM);
  EXPECT_EQ(first.wait().code, 0);
}

// A signal to one rank is a signal to all: they agree on the step, save it and end well.
TEST(Job, ASignalToOneRankSavesAndEndsAll) {
  const TestFolder folder;
  const std::string run = folder / "run";
  Started job(training(run, {"--set", "steps=100000", "--set", "parallel.zero_stage=2"}), {.ranks = 2});
  ASSERT_TRUE(wait_for_steps(run, 3));
  const std::vector<int> ranks = job.ranks();
  ASSERT_EQ(ranks.size(), 2u);
  kill(ranks[1], SIGUSR1);
  const Ran ran = job.wait();
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_TRUE(contains(ran.out, "after saving; the same command continues"));
  EXPECT_FALSE(digest_of(run).empty());
}

TEST(Job, ALostRankEndsTheOthersWithinSecondsAndTheRunGoesOn) {
  const TestFolder folder;
  const std::string run = folder / "run";
  Started job(training(run, {"--steps", "40", "--set", "checkpoint.every_steps=2"}), {.ranks = 3});
  ASSERT_TRUE(wait_for_steps(run, 5));
  const std::vector<int> ranks = job.ranks();
  ASSERT_EQ(ranks.size(), 3u);
  kill(ranks[1], SIGKILL);
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_NE(job.wait().code, 0);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(20));
  ASSERT_TRUE(succeeds(train(run, steps(20, 3), {.ranks = 2})));
  EXPECT_EQ(digest_of(run), digest_after(steps(20, 0)));
}

// Rank 1 sees the checkpoints through a layer of its own, whose disk holds 64 KiB: what a node with a full disk sees.
TEST(Job, ADiskThatIsFullUnderOneRankOnlyIsToldByItsNumberAndHarmsNothing) {
  const TestFolder folder;
  const std::string run = folder / "run", script = folder / "small_disk.sh";
  ASSERT_TRUE(succeeds(train(run, steps(10, 2), {.ranks = 2})));
  std::filesystem::create_directory(folder / "disk");
  write_bytes(script,
              "set -e\nif [ $OMPI_COMM_WORLD_RANK = 1 ]; then\n"
              "  mount -t tmpfs -o size=64k none " +
                  folder / "disk" + "\n  mkdir " + folder / "disk/upper" + " " + folder / "disk/work" +
                  "\n  mount -t overlay overlay -o lowerdir=" + run + "/checkpoints,upperdir=" + folder / "disk/upper" +
                  ",workdir=" + folder / "disk/work" + " " + run + "/checkpoints\nfi\nexec \"$@\"\n");
  const Words in_namespace = {"unshare", "-m", "sh", script};
  if (std::system(("OMPI_COMM_WORLD_RANK=1 unshare -m sh " + script + " true 2>/dev/null").c_str()) != 0)
    GTEST_SKIP() << "needs root and overlay mounts";
  const Ran ran = train(run, steps(20, 2), {.ranks = 2, .wrapper = in_namespace});
  EXPECT_EQ(ran.code, 4) << ran.err;
  EXPECT_TRUE(contains(ran.err, "shardit: rank 1 of 2: write "));
  EXPECT_TRUE(contains(ran.err, "No space left on device"));
  EXPECT_FALSE(exists(checkpoint_path(run, 20)));
  ASSERT_TRUE(succeeds(train(run, steps(20, 2), {.ranks = 2})));
  EXPECT_EQ(digest_of(run), digest_after(steps(20, 0)));
}

// A rank that stands still is named, with the call that the others wait in, by one of them.
TEST(Job, ARankThatHangsIsNamedWithinTheWatchdogsTime) {
  const TestFolder folder;
  const std::string run = folder / "run";
  Started job(training(run, {"--set", "steps=1000000", "--set", "parallel.watchdog_s=2"}), {.ranks = 4});
  ASSERT_TRUE(wait_for_steps(run, 3));
  const std::vector<int> ranks = job.ranks();
  ASSERT_EQ(ranks.size(), 4u);
  kill(ranks[1], SIGSTOP);
  Ran ran = job.wait();
  EXPECT_EQ(ran.err.rfind("shardit: "), 0u) << ran.err;
  ran.err.resize(std::min(ran.err.size(), ran.err.find("---")));  // mpirun's own words follow
  // The others may wait in two calls: one of them goes on until it needs the lost one.
  EXPECT_TRUE(fails(ran, 6, {"rank 1 does not answer; rank", " in all_", "\n  rank 1: no answer\n"}));
}

}  // namespace
}  // namespace shardit

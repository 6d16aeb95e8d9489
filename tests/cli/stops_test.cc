// How a run ends before its end: signals, kills, a full disk, numbers that are not finite. What was saved stays good,
// and the same command goes on to the weights of an undisturbed run.
#include <signal.h>
#include <sys/mount.h>

#include <chrono>
#include <random>
#include <thread>

#include "tests/cli/program.h"

namespace shardit {
namespace {

void verify(const std::string& path) {
  const Ran ran = run({"checkpoint", "verify", path});
  EXPECT_TRUE(succeeds(ran)) << path;
}

TEST(Stop, EverySignalFinishesTheStepAndSaves) {
  const std::string undisturbed = digest_after({});
  for (int signal_number : {SIGTERM, SIGINT, SIGUSR1}) {
    const TestFolder folder;
    Started first(training(folder / "run"));
    ASSERT_TRUE(wait_for_steps(folder / "run", 3));
    first.send(signal_number);
    const Ran stopped = first.wait();
    EXPECT_EQ(stopped.code, 0) << stopped.err;
    EXPECT_TRUE(contains(stopped.err, "stopping: this step is finished and saved first"));
    EXPECT_TRUE(contains(stopped.out, "stopped at step "));
    EXPECT_TRUE(contains(stopped.out, "the same command continues"));
    verify(folder / "run");
    EXPECT_TRUE(succeeds(train(folder / "run")));
    EXPECT_EQ(digest_of(folder / "run"), undisturbed) << strsignal(signal_number);
  }
}

TEST(Stop, ASignalBeforeTheFirstStepIsHeardToo) {
  const TestFolder folder;
  Started run(training(folder / "run", {"--set", "steps=2147483647"}));
  while (run.running() && !exists(folder / "run/lock")) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  run.send(SIGTERM);
  EXPECT_EQ(run.wait().code, 0);
  verify(folder / "run");
}

TEST(Stop, AKillAtAnyMomentLosesOnlyWhatWasNotSaved) {
  const Words often = {"--set", "checkpoint.every_steps=2"};
  const std::string undisturbed = digest_after(often);
  const TestFolder folder;
  std::mt19937 random(1);
  for (int kill_number = 1; kill_number <= 4; ++kill_number) {
    Started run(training(folder / "run", often));
    ASSERT_TRUE(wait_for_steps(folder / "run", 8 * kill_number));
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 40000));
    run.send(SIGKILL);
    run.wait();
    verify(folder / "run");
  }
  EXPECT_EQ(train(folder / "run", often).code, 0);
  EXPECT_EQ(digest_of(folder / "run"), undisturbed);
  EXPECT_EQ(steps_logged(folder / "run"), 40) << "every step is in metrics.jsonl once";
}

TEST(Stop, AfterTheGivenTime) {
  const TestFolder folder;
  const Ran ran =
      train(folder / "run", {"--stop-after", "2s", "--set", "steps=2147483647", "--set", "checkpoint.every_steps=0"});
  EXPECT_TRUE(succeeds(ran));
  EXPECT_TRUE(contains(ran.out, "stopped at step "));
  verify(folder / "run");
}

TEST(Stop, NotWhenTheReaderOfTheLogGoesAway) {
  const TestFolder folder;
  const std::string flags = " --steps 8 --set checkpoint.every_steps=2 --run-dir " + (folder / "run");
  EXPECT_EQ(system(("'" SHARDIT_PROGRAM "' train " + tiny_config() + flags + " | head -n 1 >/dev/null").c_str()), 0);
  EXPECT_TRUE(exists(checkpoint_path(folder / "run", 8)));
}

TEST(Stop, SamplingLeavesNothingHalfDone) {
  const TestFolder folder;
  ASSERT_TRUE(succeeds(train(folder / "run", {"--steps", "1"})));
  Started sampling({"sample", folder / "run", "--npz", folder / "out.npz", "--num", "1000000"});
  std::this_thread::sleep_for(std::chrono::milliseconds(500));
  sampling.send(SIGTERM);
  const Ran ran = sampling.wait();
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_TRUE(contains(ran.out, "stopped by a signal: nothing was written"));
  EXPECT_FALSE(exists(folder / "out.npz") || exists(folder / "out.npz.partial"));
}

TEST(Stop, AFinishedRunHasNothingToDo) {
  const TestFolder folder;
  ASSERT_TRUE(succeeds(train(folder / "run", {"--steps", "4"})));
  const std::string metrics = bytes_of_file(folder / "run/metrics.jsonl");
  const Ran again = train(folder / "run", {"--steps", "4"});
  EXPECT_TRUE(succeeds(again));
  EXPECT_TRUE(contains(again.out, "nothing to do"));
  EXPECT_EQ(bytes_of_file(folder / "run/metrics.jsonl"), metrics);
}

TEST(NonFinite, StopsWithTheStepAndTheNodeAndHarmsNoCheckpoint) {
  const std::string undisturbed = digest_after({"--steps", "20"});
  const TestFolder folder;
  ASSERT_TRUE(succeeds(train(folder / "run", {"--steps", "10"})));
  const std::string before = digest_of(folder / "run");
  const Ran broken = train(folder / "run", {"--steps", "20", "--set", "optimizer.lr=1e30"});
  EXPECT_TRUE(fails(broken, 5,
                    {"step 12", "not finite", "the first such value is at embedders.t_embedder.2 (linear), output 0"}));
  EXPECT_TRUE(contains(bytes_of_file(folder / "run/metrics.jsonl"), "\"event\":\"nonfinite\",\"step\":12,\"node\":\""));
  verify(folder / "run");
  EXPECT_EQ(digest_of(folder / "run"), before);
  ASSERT_TRUE(succeeds(train(folder / "run", {"--steps", "20"})));
  EXPECT_EQ(digest_of(folder / "run"), undisturbed) << "metrics and state go on from the last checkpoint";
}

TEST(NonFinite, IsFoundInBf16Too) {
  const TestFolder folder;
  const Ran ran = train(folder / "run", {"--set", "optimizer.lr=1e30", "--set", "precision.compute=bf16"});
  EXPECT_TRUE(fails(ran, 5, {"not finite"}));
}

TEST(FullDisk, AFileThatMayNotGrowLeavesTheOldCheckpoint) {
  for (const char* async : {"checkpoint.async=true", "checkpoint.async=false"}) {
    const TestFolder folder;
    ASSERT_TRUE(succeeds(train(folder / "run", {"--steps", "10"})));
    const std::string before = digest_of(folder / "run");
    const Ran full = train(folder / "run", {"--steps", "20", "--set", async}, {.largest_file_bytes = 100'000});
    EXPECT_TRUE(fails(full, 4, {"write", "checkpoints/.step-00000020.partial", "File too large"}));
    verify(folder / "run");
    EXPECT_EQ(digest_of(folder / "run"), before);
    EXPECT_TRUE(succeeds(train(folder / "run", {"--steps", "20"}))) << "goes on once there is room";
  }
}

// A file system of its own, as large as the test says; gone with the test.
struct SmallDisk {
  std::string path;
  bool mounted;
  SmallDisk(const std::string& at, const std::string& options) : path(at) {
    std::filesystem::create_directories(path);
    mounted = mount("tmpfs", path.c_str(), "tmpfs", 0, options.c_str()) == 0;
  }
  ~SmallDisk() {
    if (mounted) umount2(path.c_str(), MNT_DETACH);
  }
};

TEST(FullDisk, TooLittleSpaceForACheckpointIsSaidInNumbers) {
  const TestFolder folder;
  const SmallDisk disk(folder / "disk", "size=40m");
  if (!disk.mounted) GTEST_SKIP() << "mounting a small file system needs root";
  ASSERT_TRUE(succeeds(train(disk.path + "/run", {"--steps", "10"})));
  const std::string before = digest_of(disk.path + "/run");
  write_bytes(disk.path + "/filler", std::string(30 << 20, 'x'));
  const Ran full = train(disk.path + "/run", {"--steps", "20"});
  EXPECT_TRUE(fails(full, 4, {"checkpoint", "needs", "bytes, the disk has", "free"}));
  EXPECT_EQ(digest_of(disk.path + "/run"), before);
  verify(disk.path + "/run");
}

TEST(FullDisk, AReadOnlyFileSystemIsSaid) {
  const TestFolder folder;
  const SmallDisk disk(folder / "disk", "size=40m");
  if (!disk.mounted) GTEST_SKIP() << "mounting a small file system needs root";
  ASSERT_TRUE(succeeds(train(disk.path + "/run", {"--steps", "2"})));
  ASSERT_EQ(mount("tmpfs", disk.path.c_str(), "tmpfs", MS_REMOUNT | MS_RDONLY, nullptr), 0);
  EXPECT_TRUE(fails(train(disk.path + "/run"), 4, {"Read-only file system", "choose another directory"}));
  EXPECT_TRUE(fails(train(disk.path + "/new"), 4, {"Read-only file system", "--run-dir"}));
  verify(disk.path + "/run");
}

}  // namespace
}  // namespace shardit

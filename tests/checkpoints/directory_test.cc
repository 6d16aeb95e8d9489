#include "checkpoints/directory.h"

#include <gtest/gtest.h>

#include "tests/checkpoints/tiny_state.h"

namespace shardit {
namespace {

const std::string kDir = "run/checkpoints";

struct ThreeSteps {
  FaultyFiles files;
  ThreeSteps() {
    make_run(files);
    for (int64_t step : {1000, 2000, 3000}) save_tiny(files, step, 1);
  }
  std::string& bytes(int64_t step, const std::string& name) {
    return files.bytes(kDir + "/" + step_name(step) + "/" + name);
  }
};

TEST(StepName, MakesTheRoundTrip) {
  EXPECT_EQ(step_name(1000), "step-00001000");
  EXPECT_EQ(step_of_name("step-00001000"), 1000);
  EXPECT_EQ(step_of_name("step-1234567890"), 1234567890);
  for (const char* other : {"step-1000", "step-0000100x", ".step-00001000.partial", "step-001234567890", "checkpoint"})
    EXPECT_EQ(step_of_name(other), std::nullopt) << other;
}

TEST(FindNewest, TakesTheHighestStep) {
  ThreeSteps run;
  EXPECT_EQ(find_newest(run.files, "run").checkpoint->manifest.run.step, 3000);
}

TEST(FindNewest, FallsBackToAnOlderOneAndSaysWhy) {
  ThreeSteps run;
  run.bytes(3000, "manifest.pb")[30] ^= 1;
  run.bytes(2000, "rank-00000.safetensors").pop_back();
  const NewestCheckpoint newest = find_newest(run.files, "run");
  EXPECT_EQ(newest.checkpoint->manifest.run.step, 1000);
  ASSERT_EQ(newest.problems.size(), 2u);
  EXPECT_HAS(newest.problems[0], "step-00003000/manifest.pb is no intact manifest");
  EXPECT_HAS(newest.problems[1], "step-00002000/rank-00000.safetensors has");
}

TEST(FindNewest, OfARunWithoutCheckpointsIsEmpty) {
  FaultyFiles files;
  make_run(files);
  EXPECT_FALSE(find_newest(files, "run").checkpoint);
  EXPECT_FALSE(find_newest(files, "elsewhere").checkpoint);
}

TEST(OpenCheckpoint, TakesAStepOrARunDirectory) {
  ThreeSteps run;
  EXPECT_EQ(open_checkpoint(run.files, "run").manifest.run.step, 3000);
  EXPECT_EQ(open_checkpoint(run.files, kDir + "/step-00002000").manifest.run.step, 2000);
}

TEST(OpenCheckpoint, SaysWhatItExpected) {
  ThreeSteps run;
  run.files.put("run/file", "");
  run.files.make_dir("empty");
  EXPECT_HAS(error_of<UserError>([&] { open_checkpoint(run.files, "nowhere"); }), "nowhere is no directory: expected");
  EXPECT_HAS(error_of<UserError>([&] { open_checkpoint(run.files, "run/file"); }), "run/file is no directory");
  EXPECT_HAS(error_of<UserError>([&] { open_checkpoint(run.files, "empty"); }), "empty has no checkpoint");
  EXPECT_HAS(error_of<UserError>([&] { open_step(run.files, "run", 7); }), "step 7; it has 3000, 2000, 1000");
  run.files.remove_file(kDir + "/step-00002000/manifest.pb");
  EXPECT_HAS(error_of<IoError>([&] { open_checkpoint(run.files, kDir + "/step-00002000/"); }), "has no manifest.pb");
  for (int64_t step : {1000, 3000}) run.bytes(step, "manifest.pb").clear();
  EXPECT_HAS(error_of<IoError>([&] { open_checkpoint(run.files, "run"); }), "no checkpoint of run is intact");
}

TEST(Recover, QuarantinesPartialDirectoriesAndReportsThem) {
  ThreeSteps run;
  for (int i = 1; i <= 2; ++i) {
    run.files.make_dir(kDir + "/.step-00004000.partial");
    run.files.put(kDir + "/.step-00004000.partial/rank-00000.safetensors", "half");
    const std::vector<std::string> lines = recover(run.files, "run");
    ASSERT_EQ(lines.size(), 1u);
    const std::string to = "quarantine-step-00004000.partial-" + std::to_string(i);
    EXPECT_HAS(lines[0], "moved .step-00004000.partial to " + to);
    EXPECT_EQ(run.files.bytes(kDir + "/" + to + "/rank-00000.safetensors"), "half");
  }
  EXPECT_TRUE(recover(run.files, "run").empty());
  EXPECT_EQ(find_newest(run.files, "run").checkpoint->manifest.run.step, 3000);
}

TEST(Recover, PrefersTheOldCheckpointToABrokenNewOne) {
  ThreeSteps run;
  run.files.rename(kDir + "/step-00003000", kDir + "/.step-00003000.replaced");
  run.files.make_dir(kDir + "/step-00003000");
  const std::vector<std::string> lines = recover(run.files, "run");
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_HAS(lines[0], "moved step-00003000 to quarantine-step-00003000-1");
  EXPECT_HAS(lines[0], "brought back the old step-00003000");
  EXPECT_EQ(find_newest(run.files, "run").checkpoint->manifest.run.step, 3000);
}

TEST(Recover, DoesNothingInAFreshRun) {
  FaultyFiles files;
  make_run(files);
  EXPECT_TRUE(recover(files, "run").empty());
}

TEST(Prune, KeepsTheNewestAndTheMilestones) {
  ThreeSteps run;
  for (int64_t step : {4000, 5000}) save_tiny(run.files, step, 1);
  const PruneReport report = prune(run.files, "run", 2, 2000);
  EXPECT_EQ(report.kept, (std::vector<int64_t>{5000, 4000, 2000}));
  EXPECT_EQ(report.deleted, (std::vector<int64_t>{3000, 1000}));
  EXPECT_EQ(run.files.list(kDir), (std::vector<std::string>{"step-00002000", "step-00004000", "step-00005000"}));
}

TEST(Prune, NeverCountsABrokenCheckpointAsKept) {
  ThreeSteps run;
  run.bytes(3000, "manifest.pb").clear();
  const PruneReport report = prune(run.files, "run", 1, 0);
  EXPECT_EQ(report.kept, (std::vector<int64_t>{2000}));
  EXPECT_EQ(report.deleted, (std::vector<int64_t>{1000}));
  EXPECT_EQ(report.problems.size(), 1u);
  EXPECT_EQ(run.files.kind(kDir + "/step-00003000"), PathKind::kDirectory);
}

TEST(Prune, FinishesAnInterruptedDeletion) {
  ThreeSteps run;
  run.files.rename(kDir + "/step-00001000", kDir + "/.step-00001000.pruned");
  run.files.remove_file(kDir + "/.step-00001000.pruned/manifest.pb");
  save_tiny(run.files, 1000, 2);
  EXPECT_EQ(prune(run.files, "run", 1, 0).deleted, (std::vector<int64_t>{2000, 1000}));
  EXPECT_EQ(run.files.list(kDir), (std::vector<std::string>{"step-00003000"}));
}

TEST(Prune, OfARunWithoutCheckpointsDoesNothing) {
  FaultyFiles files;
  make_run(files);
  EXPECT_TRUE(prune(files, "run", 1, 0).kept.empty());
}

TEST(Prune, RefusesToDeleteEverything) {
  ThreeSteps run;
  EXPECT_HAS(error_of<UserError>([&] { prune(run.files, "run", 0, 0); }), "--keep-last is 0");
  EXPECT_HAS(error_of<UserError>([&] { prune(run.files, "run", 1, -5); }), "--keep-every is -5");
}

}  // namespace
}  // namespace shardit

// Which checkpoint a run continues from, and what it refuses to continue.
#include "tests/cli/program.h"

namespace shardit {
namespace {

std::string data_file(const std::string& run_dir, int step) {
  return checkpoint_path(run_dir, step) + "/rank-00000.safetensors";
}

// A run of six steps with checkpoints at 2, 4 and 6.
struct Saved : TestFolder {
  std::string run_dir = *this / "run";
  Saved() { EXPECT_TRUE(succeeds(go_on({"--steps", "6"}))); }
  Ran go_on(Words words, const Words& sets = {}) const {
    words.insert(words.end(), {"--set", "checkpoint.every_steps=2"});
    for (const std::string& set : sets) words.insert(words.end(), {"--set", set});
    return train(run_dir, words);
  }
};

TEST(Resume, NoneRefusesARunThatHasCheckpoints) {
  const Saved saved;
  EXPECT_TRUE(fails(saved.go_on({"--resume", "none"}), 2, {"--resume none", "has checkpoints already", "--run-dir"}));
}

TEST(Resume, FromAnEarlierStepMakesOneHistory) {
  const Saved saved;
  const std::string at_six = digest_of(saved.run_dir);
  const Ran again = saved.go_on({"--resume", "2", "--steps", "4"}, {"checkpoint.keep_last=1"});
  EXPECT_TRUE(succeeds(again));
  EXPECT_TRUE(contains(again.out, "moved step-00000006 to quarantine-step-00000006-1: the run continues from step 2"));
  EXPECT_TRUE(exists(checkpoint_path(saved.run_dir, 4))) << "the new save is the newest: prune keeps it";
  EXPECT_EQ(steps_logged(saved.run_dir), 4);
  EXPECT_TRUE(succeeds(saved.go_on({"--steps", "6"})));
  EXPECT_EQ(digest_of(saved.run_dir), at_six);
}

TEST(Resume, AStepThatIsNotThereNamesThoseThatAre) {
  const Saved saved;
  EXPECT_TRUE(fails(saved.go_on({"--resume", "3"}), 2, {"no checkpoint of step 3", "6, 4, 2"}));
}

TEST(Resume, RefusesAnotherArithmeticAndNamesKeyAndBothValues) {
  const Saved saved;
  const auto refused = [&](const std::string& set, const Words& words) {
    EXPECT_TRUE(fails(saved.go_on({}, {set}), 2, words)) << set;
  };
  refused("model.depth=3", {"model.depth: saved 2, now 3", "--override-arithmetic"});
  refused("model.label_dropout=0.5", {"model.label_dropout: saved 0.2, now 0.5"});
  refused("data.images=55", {"data.images: saved 101, now 55"});
  refused("data.flip=false", {"data.flip: saved true, now false"});
  refused("precision.compute=bf16", {"precision.compute: saved fp32, now bf16"});
  refused("seed=9", {"seed: saved 3, now 9"});
  refused("global_batch_size=72", {"global_batch_size: saved 36, now 72"});
  refused("micro_batch_size=4", {"micro_batch_size: saved 3, now 4"});
  refused("diffusion.timesteps=50", {"diffusion.timesteps: saved 100, now 50"});
  refused("parallel.fold_group=4", {"parallel.fold_group: saved 5, now 4"});
  refused("optimizer.beta2=0.9", {"optimizer.beta2: saved 0.999, now 0.9"});
  refused("ema[1].decay=0.5", {"ema[1].decay: saved 0.9, now 0.5"});
}

TEST(Resume, TakesAnotherLearningRateLengthAndPlaceOfWork) {
  const Saved saved;
  EXPECT_TRUE(succeeds(saved.go_on(
      {}, {"optimizer.lr=1e-3", "steps=8", "optimizer.warmup_images=0", "device=cpu", "data.threads=1",
           "parallel.recompute=block", "checkpoint.keep_last=2", "sample.every_steps=4", "validation.every_steps=3"})));
  EXPECT_TRUE(exists(checkpoint_path(saved.run_dir, 8)));
  EXPECT_FALSE(exists(checkpoint_path(saved.run_dir, 4))) << "keep_last=2";
  EXPECT_TRUE(exists(saved / "run/samples/step-00000008.png"));
}

TEST(Resume, OverrideArithmeticSaysLoudlyWhatItSkips) {
  const Saved saved;
  const Ran ran = saved.go_on({"--override-arithmetic", "--steps", "8"}, {"seed=9", "data.flip=false"});
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_TRUE(contains(ran.err, "WARNING: --override-arithmetic skips the check of seed: saved 3, now 9"));
  EXPECT_TRUE(contains(ran.err, "data.flip: saved true, now false"));
  EXPECT_TRUE(contains(bytes_of_file(saved / "run/metrics.jsonl"), "seed: saved 3, now 9"));
  const Saved other;
  EXPECT_TRUE(contains(other.go_on({"--override-arithmetic"}, {"model.hidden_size=40"}).err, "expected fp32"));
}

TEST(Resume, FallsBackFromACheckpointThatIsCutShort) {
  const Saved saved;
  const std::string whole = digest_of(saved.run_dir), file = data_file(saved.run_dir, 6);
  std::filesystem::resize_file(file, std::filesystem::file_size(file) - 1);
  const Ran ran = saved.go_on({"--steps", "6"});
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_TRUE(contains(ran.err, "WARNING: "));
  EXPECT_TRUE(contains(ran.err, "step-00000006/rank-00000.safetensors has"));
  EXPECT_TRUE(contains(ran.err, "falling back to that of step 4"));
  EXPECT_EQ(digest_of(saved.run_dir), whole);
}

TEST(Resume, FallsBackFromACheckpointWithOneWrongBit) {
  const Saved saved;
  const std::string whole = digest_of(saved.run_dir);
  flip_byte(data_file(saved.run_dir, 6), bytes_of_file(data_file(saved.run_dir, 6)).size() - 9);
  flip_byte(checkpoint_path(saved.run_dir, 4) + "/manifest.pb", 100);
  const Ran ran = saved.go_on({"--steps", "6"}, {"checkpoint.keep_last=1"});
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_TRUE(contains(ran.err, "is damaged: its bytes do not have the digest of the manifest"));
  EXPECT_TRUE(contains(ran.err, "step-00000004/manifest.pb"));
  EXPECT_TRUE(contains(ran.err, "falling back to that of step 2"));
  EXPECT_TRUE(exists(saved / "run/checkpoints/quarantine-step-00000006-1"));
  EXPECT_EQ(digest_of(saved.run_dir), whole);
}

TEST(Resume, NeverStartsOverOnItsOwn) {
  const Saved saved;
  for (int step : {2, 4, 6}) write_bytes(checkpoint_path(saved.run_dir, step) + "/manifest.pb", "junk");
  const Ran ran = saved.go_on({"--steps", "6"});
  EXPECT_EQ(ran.code, 4) << ran.err;
  EXPECT_TRUE(contains(ran.err, "no valid checkpoint, only broken ones"));
  EXPECT_TRUE(fails(saved.go_on({"--resume", "4"}), 4, {"step-00000004/manifest.pb"}));
}

TEST(Resume, AHalfWrittenSaveIsSetAside) {
  const Saved saved;
  std::filesystem::create_directories(saved / "run/checkpoints/.step-00000008.partial");
  write_bytes(saved / "run/checkpoints/.step-00000008.partial/rank-00000.safetensors", "half");
  const Ran ran = saved.go_on({"--steps", "8"});
  EXPECT_TRUE(succeeds(ran));
  EXPECT_TRUE(contains(ran.out, "moved .step-00000008.partial to quarantine-step-00000008.partial-1"));
}

}  // namespace
}  // namespace shardit

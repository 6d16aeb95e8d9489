// The resume proof as a user meets it: between rank counts and stages, in errors, and where it is skipped.
#include "checkpoints/manifest.h"
#include "tests/cli/program.h"

namespace shardit {
namespace {

Words steps(int count, int stage, const Words& more = {}) {
  Words words = {"--steps", std::to_string(count), "--set", "parallel.zero_stage=" + std::to_string(stage)};
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

// Gives the checkpoint another loss, its CRC made anew.
void change_loss(const std::string& run, int step) {
  const std::string path = checkpoint_path(run, step) + "/manifest.pb";
  Manifest manifest = decode_manifest(bytes_of_file(path), path);
  manifest.run.resume_loss_bits = *manifest.run.resume_loss_bits + 1;
  write_bytes(path, encode_manifest(manifest));
}

TEST(ResumeProof, HoldsBitwiseBetweenRankCountsAndStages) {
  for (const Words& precision : {Words{}, Words{"--set", "precision.compute=bf16"}}) {
    const TestFolder folder;
    const std::string run = folder / "run";
    const auto holds = [&](int count, int stage, int ranks) {
      const Ran ran = train(run, steps(count, stage, precision), {.ranks = ranks});
      EXPECT_TRUE(succeeds(ran));
      EXPECT_TRUE(contains(ran.out, "resume proof holds bitwise, loss "));
    };
    ASSERT_TRUE(succeeds(train(run, steps(4, 3, precision), {.ranks = 2})));
    holds(6, 0, 0);
    holds(8, 3, 2);
    holds(10, 2, 3);
    holds(12, 0, 2);
  }
}

TEST(ResumeProof, ThatFailsEndsTheJobOnceWithWhatToDo) {
  const TestFolder folder;
  const std::string run = folder / "run";
  ASSERT_TRUE(succeeds(train(run, steps(4, 2), {.ranks = 2})));
  const std::string saved = digest_of(run);
  change_loss(run, 4);
  const Words words = {"the resume proof of step 4 fails: rank 0 gets 0.", ", expected 0.", "--resume-proof warn"};
  EXPECT_TRUE(fails(train(run, steps(6, 0)), 5, {"the resume proof of step 4 fails: 0.", "--resume STEP"}));
  const Ran job = train(run, steps(6, 2), {.ranks = 2});
  EXPECT_EQ(job.code, 5);
  for (const std::string& word : words) EXPECT_TRUE(contains(job.err, word));
  EXPECT_EQ(digest_of(run), saved) << "nothing was trained";
  const Ran warned = train(run, steps(6, 2, {"--resume-proof", "warn"}), {.ranks = 2});
  EXPECT_EQ(warned.code, 0) << warned.err;
  EXPECT_TRUE(contains(warned.err, "WARNING: resume proof fails: rank 0 gets"));
  EXPECT_EQ(digest_of(run), digest_after(steps(6, 0)));
}

TEST(ResumeProof, OffIsSaidInTheLog) {
  const TestFolder folder;
  ASSERT_TRUE(succeeds(train(folder / "run", steps(2, 0))));
  change_loss(folder / "run", 2);
  const Ran ran = train(folder / "run", steps(4, 0, {"--resume-proof", "off"}));
  EXPECT_TRUE(succeeds(ran));
  EXPECT_TRUE(contains(ran.out, "resume proof not computed: --resume-proof off"));
}

TEST(ResumeProof, IsSkippedLoudlyWhereTheRunIsAnother) {
  const std::vector<std::pair<std::string, std::string>> changes = {
      {"precision.compute=bf16", "precision.compute was fp32 and is now bf16"},
      {"model.label_dropout=0.5", "model.label_dropout was 0.2 and is now 0.5"},
      {"data.images=55", "data.images was 101 and is now 55"},
      {"seed=9", "seed was 3 and is now 9"},
      {"micro_batch_size=6", "micro_batch_size was 3 and is now 6"}};
  for (const auto& [set, words] : changes) {
    const TestFolder folder;
    ASSERT_TRUE(succeeds(train(folder / "run", steps(2, 0))));
    const Ran ran = train(folder / "run", steps(4, 0, {"--override-arithmetic", "--set", set}));
    EXPECT_EQ(ran.code, 0) << ran.err;
    EXPECT_TRUE(contains(ran.err, "WARNING: resume proof skipped: the loss is another one, since " + words));
  }
}

TEST(ResumeProof, IsNotSkippedForWhatDoesNotChangeTheLoss) {
  const TestFolder folder;
  ASSERT_TRUE(succeeds(train(folder / "run", steps(2, 0))));
  const Words override = {"--override-arithmetic", "--set", "optimizer.beta2=0.9", "--set", "parallel.fold_group=4"};
  const Ran ran = train(folder / "run", steps(4, 0, override));
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_TRUE(contains(ran.out, "resume proof holds bitwise"));
}

// Other kernels of the library: another kind of device, though it is the same machine.
TEST(ResumeProof, SaysWhereTheCheckpointWasMadeIfThatIsAnotherKindOfDevice) {
  const TestFolder folder;
  ASSERT_TRUE(succeeds(train(folder / "run", steps(2, 0), {.environment = {{"ONEDNN_MAX_CPU_ISA", "SSE41"}}})));
  const Ran ran = train(folder / "run", steps(4, 0), {.environment = {{"ONEDNN_MAX_CPU_ISA", "AVX2"}}});
  EXPECT_TRUE(succeeds(ran));
  EXPECT_TRUE(contains(ran.out, "resume proof holds "));
  EXPECT_TRUE(contains(ran.out, "saved on another kind of device: cpu "));
  EXPECT_TRUE(contains(ran.out, "kernels for sse41"));
}

TEST(ResumeProof, KnowsThreeWords) {
  const TestFolder folder;
  EXPECT_TRUE(fails(train(folder / "run", {"--resume-proof", "maybe"}), 2,
                    {"--resume-proof: got 'maybe', expected strict, warn or off"}));
}

}  // namespace
}  // namespace shardit

// Whole runs of the step loop, in a folder of the test's own.
#include "launcher/trainer.h"

#include <gtest/gtest.h>

#include <cstring>

#include "checkpoints/load.h"
#include "checkpoints/save.h"
#include "core/error.h"
#include "launcher/config.h"
#include "launcher/metrics.h"
#include "tests/launcher/alone.h"
#include "tests/launcher/test_folder.h"

namespace shardit {
namespace {

RunConfig config_of(const std::vector<std::string>& sets = {}) {
  return parse_config(
      "seed: 3  steps: 7  global_batch_size: 6  micro_batch_size: 2\n"
      "model { input_size: 8  in_channels: 1  patch_size: 4  hidden_size: 16  depth: 1  num_heads: 2  num_classes: 3 "
      "}\n"
      "data { kind: synthetic  images: 25  flip: true }  optimizer { lr: 1e-2 }  ema { name: \"slow\"  decay: 0.9 }\n"
      "checkpoint { every_steps: 0 }  validation { every_steps: 0 }  sample { sampler: ddpm  steps: 3 }",
      "test", sets);
}

struct Result {
  std::string digest;
  std::vector<double> losses;
};

Result result_of(const std::string& run) {
  PosixFiles files;
  Result result{.digest = find_newest(files, run).checkpoint->manifest.root.hex()};
  for (const StepMetrics& step : read_metrics(run + "/metrics.jsonl").steps) result.losses.push_back(step.loss);
  return result;
}

std::string trained(const TestFolder& folder, const std::string& name, const RunConfig& config,
                    std::vector<int64_t> stops = {}) {
  const std::string run = folder / name;
  for (int64_t stop : stops) EXPECT_EQ(train_alone(config, {.run_dir = run, .steps = stop}), 0);
  EXPECT_EQ(train_alone(config, {.run_dir = run}), 0);
  return run;
}

TEST(Training, AResumedRunIsTheSameRun) {
  const TestFolder folder;
  const Result whole = result_of(trained(folder, "whole", config_of()));
  const Result parts = result_of(trained(folder, "parts", config_of(), {2, 3, 6}));
  ASSERT_EQ(whole.losses.size(), 7u);
  EXPECT_EQ(parts.losses, whole.losses);
  EXPECT_EQ(parts.digest, whole.digest);
}

TEST(Training, WhatIsDoneForSpeedOrMemoryChangesNoDigest) {
  const TestFolder folder;
  const Result plain = result_of(trained(folder, "plain", config_of()));
  for (const char* set : {"parallel.recompute=block", "parallel.recompute=selective", "checkpoint.async=false",
                          "checkpoint.every_steps=2", "data.threads=1", "data.prefetch=1"}) {
    const Result other = result_of(trained(folder, set, config_of({set})));
    EXPECT_EQ(other.losses, plain.losses) << set;
    EXPECT_EQ(other.digest, plain.digest) << set;
  }
}

TEST(Training, SamplingAndValidationChangeNoDigest) {
  const TestFolder folder;
  const Result plain = result_of(trained(folder, "plain", config_of()));
  const RunConfig busy = config_of({"sample.every_steps=2", "sample.num=3", "sample.batch=3", "sample.seed=3",
                                    "validation.every_steps=1", "validation.images=4"});
  const Result other = result_of(trained(folder, "busy", busy, {3}));
  EXPECT_EQ(other.losses, plain.losses);
  EXPECT_EQ(other.digest, plain.digest);
}

TEST(Training, AnotherSeedIsAnotherRun) {
  const TestFolder folder;
  EXPECT_NE(result_of(trained(folder, "a", config_of())).digest,
            result_of(trained(folder, "b", config_of({"seed=4"}))).digest);
}

// ---- the resume proof --------------------------------------------------------------------------------------------

// Saves the newest checkpoint once more with `change` made to it, as anyone could write it: sizes, CRCs and digests are
// right.
void rewrite_newest(const std::string& run, const std::function<void(RunState&, std::vector<float>& weight)>& change) {
  PosixFiles files;
  Checkpoint newest = *find_newest(files, run).checkpoint;
  std::vector<std::vector<float>> memory;
  std::vector<StateTensor> tensors;
  for (const TensorEntry& t : newest.manifest.tensors) {
    memory.emplace_back(t.shape.numel());
    tensors.push_back({t.name, t.dtype, t.shape, memory.back().data()});
  }
  load_checkpoint(files, newest, tensors);
  for (size_t i = 0; i < tensors.size(); ++i)
    if (tensors[i].name == "params/x_embedder.proj.weight") change(newest.manifest.run, memory[i]);
  const auto world = make_single_world();
  const auto writers = world->make_group("writers");
  save_sharded(files, *writers, run, newest.manifest.run, whole_parts(tensors));
  verify_checkpoint(files, *find_newest(files, run).checkpoint);
}

std::string proof_told_in(const std::string& run) {
  for (const Json& event : read_metrics(run + "/metrics.jsonl").events)
    if (event["event"] == "resume") return event["proof"];
  return "no resume";
}

void expect_refused(const std::string& run, const RunConfig& config) {
  try {
    train_alone(config, {.run_dir = run});
    FAIL() << "the proof held";
  } catch (const StopError& e) {
    EXPECT_TRUE(std::string(e.what()).starts_with("the resume proof of step 3 fails: ")) << e.what();
    EXPECT_NE(std::string(e.what()).find("expected "), std::string::npos) << e.what();
  }
  EXPECT_EQ(read_metrics(run + "/metrics.jsonl").steps.size(), 3u) << "no step was made, and no event written";
  EXPECT_EQ(proof_told_in(run), "no resume");
}

TEST(Training, AResumeComputesTheSavedLossOnceMore) {
  const TestFolder folder;
  for (const char* set : {"checkpoint.async=true", "checkpoint.async=false"}) {
    const std::string run = trained(folder, set, config_of({set}), {3});
    EXPECT_TRUE(proof_told_in(run).starts_with("holds bitwise, loss ")) << proof_told_in(run);
  }
}

// Settings that decide where and how long, not what.
TEST(Training, TheProofHoldsUnderOtherSettingsOfTheRun) {
  const TestFolder folder;
  const std::string run = trained(folder, "run", config_of({"steps=3"}));
  ASSERT_EQ(train_alone(config_of({"steps=9", "optimizer.lr=1e-3", "optimizer.warmup_images=60", "data.threads=1",
                                   "parallel.zero_stage=3", "parallel.recompute=block", "sample.every_steps=4",
                                   "validation.every_steps=4", "checkpoint.async=false"}),
                        {.run_dir = run}),
            0);
  EXPECT_TRUE(proof_told_in(run).starts_with("holds bitwise")) << proof_told_in(run);
}

TEST(Training, AWeightOfOneOtherBitFailsTheProofThoughItsDigestIsRight) {
  const TestFolder folder;
  const std::string run = trained(folder, "run", config_of({"steps=3"}));
  rewrite_newest(run, [](RunState&, std::vector<float>& weight) {
    uint32_t bits;
    std::memcpy(&bits, &weight[0], sizeof bits);
    bits ^= 1u << 22;
    std::memcpy(&weight[0], &bits, sizeof bits);
  });
  expect_refused(run, config_of());
  EXPECT_EQ(train_alone(config_of(), {.run_dir = run, .resume_proof = "warn"}), 0);
  EXPECT_TRUE(proof_told_in(run).starts_with("fails: ")) << proof_told_in(run);
}

TEST(Training, AnotherLossInTheManifestFailsTheProofAndHarmsNothingElse) {
  const TestFolder folder;
  const Result whole = result_of(trained(folder, "whole", config_of()));
  for (const char* mode : {"warn", "off"}) {
    const std::string run = trained(folder, mode, config_of({"steps=3"}));
    rewrite_newest(run, [](RunState& state, std::vector<float>&) { ++*state.resume_loss_bits; });
    expect_refused(run, config_of());
    EXPECT_EQ(train_alone(config_of(), {.run_dir = run, .resume_proof = mode}), 0);
    EXPECT_EQ(result_of(run).digest, whole.digest) << mode;
    EXPECT_TRUE(proof_told_in(run).starts_with(mode == std::string("warn") ? "fails: " : "not computed: ")) << mode;
  }
}

TEST(Training, ACheckpointWithoutALossResumesAndSaysSo) {
  const TestFolder folder;
  const std::string run = trained(folder, "run", config_of({"steps=3"}));
  rewrite_newest(run, [](RunState& state, std::vector<float>&) { state.resume_loss_bits.reset(); });
  EXPECT_EQ(train_alone(config_of(), {.run_dir = run}), 0);
  EXPECT_EQ(proof_told_in(run), "not possible: the checkpoint of step 3 has none");
}

// Within another kind of device the bits may be others: a relative difference of 2e-5 in fp32, not of 1e-3.
TEST(Training, OnAnotherKindOfDeviceTheProofAllowsATolerance) {
  const TestFolder folder;
  const auto resumed = [&](const std::string& name, double factor) {
    const std::string run = trained(folder, name, config_of({"steps=3"}));
    rewrite_newest(run, [&](RunState& state, std::vector<float>&) {
      state.device_kind = "cpu of another kind";
      float loss;
      std::memcpy(&loss, &*state.resume_loss_bits, sizeof loss);
      loss = static_cast<float>(static_cast<double>(loss) * factor);
      std::memcpy(&*state.resume_loss_bits, &loss, sizeof loss);
    });
    return run;
  };
  const std::string near = resumed("near", 1 + 1e-5);
  EXPECT_EQ(train_alone(config_of(), {.run_dir = near}), 0);
  EXPECT_TRUE(proof_told_in(near).starts_with("holds within 2e-05, loss ")) << proof_told_in(near);
  EXPECT_NE(proof_told_in(near).find("cpu of another kind"), std::string::npos) << proof_told_in(near);
  expect_refused(resumed("far", 1 + 1e-3), config_of());
}

TEST(Training, AStepThatIsNotFiniteStopsTheRunAndNamesTheNode) {
  const TestFolder folder;
  const std::string run = trained(folder, "run", config_of({"steps=2"}));
  const RunConfig config = config_of({"steps=40", "optimizer.lr=1e30"});
  try {
    train_alone(config, {.run_dir = run});
    FAIL() << "a learning rate of 1e30 went through";
  } catch (const StopError& e) {
    EXPECT_NE(std::string(e.what()).find("the first such value is at "), std::string::npos) << e.what();
    EXPECT_EQ(std::string(e.what()).find("no single node"), std::string::npos) << e.what();
  }
  PosixFiles files;
  EXPECT_EQ(find_newest(files, run).checkpoint->manifest.run.step, 2) << "the last good checkpoint is there";
}

}  // namespace
}  // namespace shardit

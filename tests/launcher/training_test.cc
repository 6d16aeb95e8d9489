// Whole runs of the step loop, in a folder of the test's own.
#include "launcher/trainer.h"

#include <gtest/gtest.h>

#include "checkpoints/directory.h"
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

// RUN/tensorboard as TensorBoard itself reads it, where it is installed.
#include <cstdio>
#include <nlohmann/json.hpp>

#include "launcher/metrics.h"
#include "tests/cli/program.h"
#include "tests/launcher/event_reader.h"

namespace shardit {
namespace {

constexpr int kNotInstalled = 77;

// What read_events.py prints, and its exit code.
std::pair<int, std::string> tensorboard_reads(const std::string& run_dir) {
  const std::string command =
      "python3 " SHARDIT_CHECKOUT "/tests/cli/read_events.py '" + run_dir + "/tensorboard' 2>/dev/null";
  FILE* pipe = popen(command.c_str(), "r");
  std::string out;
  for (int c; (c = fgetc(pipe)) != EOF;) out.push_back(static_cast<char>(c));
  return {WEXITSTATUS(pclose(pipe)), out};
}

const Words kEvents = {
    "--set", "sample.every_steps=6",     "--set", "sample.steps=2",      "--set", "sample.num=4",
    "--set", "validation.every_steps=3", "--set", "validation.images=8", "--set", "tensorboard.histogram_every_steps=2",
    "--set", "checkpoint.every_steps=4"};

Words flags(Words first) {
  first.insert(first.end(), kEvents.begin(), kEvents.end());
  return first;
}

TEST(TensorBoard, ReadsEveryStepOnceAlsoAfterARestart) {
  const TestFolder folder;
  const std::string run_dir = folder / "run";
  ASSERT_TRUE(succeeds(train(run_dir, flags({"--steps", "6"}), {.ranks = 2})));
  ASSERT_TRUE(succeeds(train(run_dir, flags({"--steps", "8", "--resume", "4"}))));
  ASSERT_EQ(event_files(run_dir).size(), 2u) << "rank 0 writes, one file for each start";
  const auto [code, out] = tensorboard_reads(run_dir);
  if (code == kNotInstalled) GTEST_SKIP() << out;
  ASSERT_EQ(code, 0) << out;
  const auto seen = nlohmann::json::parse(out);
  const auto& losses = seen.at("scalars").at("loss_metrics/global_avg_loss");
  const std::vector<StepMetrics> steps = read_metrics(run_dir + "/metrics.jsonl").steps;
  ASSERT_EQ(losses.size(), 8u);
  for (size_t i = 0; i < 8; ++i) {
    EXPECT_EQ(losses[i][0], steps[i].step);
    EXPECT_EQ(losses[i][1].get<float>(), static_cast<float>(steps[i].loss));
  }
  EXPECT_EQ(seen.at("scalars").at("validation_metrics/loss").size(), 3u) << "after 3, 6 and, at the end, 8";
  EXPECT_EQ(seen.at("images").at("samples").back()[0], 8);
  EXPECT_EQ(seen.at("histograms").at("grad_norm/units").size(), 5u) << "1, 2, 4, 6, 8";
  EXPECT_EQ(seen.at("histograms").at("grad_norm/units")[0][1], 4) << "embedders, two blocks, final layer";
  EXPECT_TRUE(contains(seen.at("texts").at("config")[0].get<std::string>(), "global_batch_size"));
}

TEST(TensorBoard, NormsOfUnitsMakeTheNormOfAllAndAreThoseOfOneRankOnTwo) {
  const TestFolder folder;
  std::vector<std::vector<tensorboard::Histogram>> runs;
  for (int ranks : {0, 2}) {
    const std::string run_dir = folder / ("run" + std::to_string(ranks));
    ASSERT_TRUE(succeeds(train(
        run_dir, {"--steps", "3", "--set", "tensorboard.histogram_every_steps=1", "--set", "parallel.zero_stage=2"},
        {.ranks = ranks})));
    const std::vector<StepMetrics> steps = read_metrics(run_dir + "/metrics.jsonl").steps;
    auto& histograms = runs.emplace_back();
    for (const auto& event : read_events(event_files(run_dir)[0]))
      for (const auto& value : event.summary().value())
        if (value.has_histo()) histograms.push_back(value.histo());
    ASSERT_EQ(histograms.size(), 3u);
    for (size_t i = 0; i < 3; ++i)
      EXPECT_NEAR(std::sqrt(histograms[i].sum_squares()), steps[i].grad_norm, 1e-12 * steps[i].grad_norm)
          << "a few roundings of fp64";
  }
  for (size_t i = 0; i < 3; ++i) EXPECT_EQ(runs[0][i].SerializeAsString(), runs[1][i].SerializeAsString());
}

TEST(TensorBoard, WritesNothingWhereNothingIsWanted) {
  const TestFolder folder;
  ASSERT_TRUE(succeeds(train(folder / "run", {"--steps", "1", "--set", "tensorboard.every_steps=0"})));
  EXPECT_FALSE(exists(folder / "run/tensorboard"));
}

}  // namespace
}  // namespace shardit

#include "launcher/metrics.h"

#include <gtest/gtest.h>

#include <cmath>

#include "core/error.h"
#include "tests/launcher/test_folder.h"

namespace shardit {
namespace {

StepMetrics at_step(int64_t step) {
  StepMetrics m;
  m.step = step;
  m.images = 256 * step;
  m.loss = 1.0 / static_cast<double>(step);
  m.step_ms = 250;
  m.images_per_s = 1024;
  return m;
}

TEST(Metrics, AStepHasExactlyTheKeysOfTheContract) {
  std::vector<std::string> keys;
  StepMetrics m = at_step(1);
  const Json object = to_json(m);
  for (const auto& [key, value] : object.items()) keys.push_back(key);
  const std::vector<std::string> expected = {"step",         "images",       "loss",
                                             "grad_norm",    "lr",           "step_ms",
                                             "images_per_s", "mem_bytes",    "comm_exposed_ms",
                                             "data_wait_ms", "slowest_rank", "slowest_rank_ms"};
  EXPECT_EQ(keys, expected) << "mfu is absent where the peak is unknown";
  m.mfu = 0.4;
  EXPECT_EQ(to_json(m).at("mfu"), 0.4);
}

TEST(Metrics, AStepOnGpusHasWhatTheyTell) {
  StepMetrics m = at_step(1);
  m.gpu = GpuReading{.watts = 512.25, .celsius = 61, .sm_mhz = 1755, .throttle = 0x4};
  const Json object = to_json(m);
  EXPECT_EQ(object.at("gpu_watts"), 512.25);
  EXPECT_EQ(object.at("gpu_celsius"), 61);
  EXPECT_EQ(object.at("gpu_sm_mhz"), 1755);
  EXPECT_EQ(object.at("gpu_throttle"), Json({"sw_power_cap"}));
  m.gpu = GpuReading{.celsius = 61};
  EXPECT_FALSE(to_json(m).contains("gpu_watts"));
  EXPECT_FALSE(to_json(m).contains("gpu_sm_mhz"));
  EXPECT_EQ(to_json(m).at("gpu_throttle"), Json::array());
}

TEST(Metrics, ReadsBackWhatWasWritten) {
  const TestFolder folder;
  MetricsWriter writer(folder / "m.jsonl", 0);
  writer.event("start", 0, {{"ranks", 2}});
  StepMetrics m = at_step(1);
  m.loss = 0.1;
  m.mfu = 0.25;
  m.mem_bytes = int64_t{1} << 40;
  writer.step(m);
  const MetricsFile file = read_metrics(folder / "m.jsonl");
  ASSERT_EQ(file.steps.size(), 1u);
  EXPECT_EQ(file.steps[0].loss, 0.1);
  EXPECT_EQ(file.steps[0].mfu, 0.25);
  EXPECT_EQ(file.steps[0].mem_bytes, int64_t{1} << 40);
  ASSERT_EQ(file.events.size(), 1u);
  EXPECT_EQ(file.events[0]["event"], "start");
  EXPECT_EQ(file.events[0]["ranks"], 2);
}

TEST(Metrics, EveryLineIsOnDiskAtOnce) {
  const TestFolder folder;
  MetricsWriter writer(folder / "m.jsonl", 0);
  writer.step(at_step(1));
  EXPECT_EQ(folder.read("m.jsonl").back(), '\n');
}

TEST(Metrics, AResumedRunHasEveryStepOnce) {
  const TestFolder folder;
  {
    MetricsWriter writer(folder / "m.jsonl", 0);
    for (int64_t step = 1; step <= 7; ++step) {
      writer.step(at_step(step));
      if (step % 2 == 0) writer.event("save", step);
    }
  }
  MetricsWriter writer(folder / "m.jsonl", 4);
  writer.event("resume", 4);
  for (int64_t step = 5; step <= 8; ++step) writer.step(at_step(step));
  const MetricsFile file = read_metrics(folder / "m.jsonl");
  ASSERT_EQ(file.steps.size(), 8u);
  for (size_t i = 0; i < 8; ++i) EXPECT_EQ(file.steps[i].step, static_cast<int64_t>(i) + 1);
  ASSERT_EQ(file.events.size(), 3u);
  EXPECT_EQ(file.events[1]["step"], 4) << "the save at the checkpoint's own step stays";
  EXPECT_EQ(file.events[2]["event"], "resume");
}

TEST(Metrics, ATornLastLineIsLeftOutAndThenCutOff) {
  const TestFolder folder;
  folder.write("m.jsonl", to_json(at_step(1)).dump() + "\n{\"step\": 2, \"im");
  EXPECT_EQ(read_metrics(folder / "m.jsonl").steps.size(), 1u);
  MetricsWriter writer(folder / "m.jsonl", 1);
  writer.step(at_step(2));
  EXPECT_EQ(read_metrics(folder / "m.jsonl").steps.size(), 2u);
}

TEST(Metrics, ACorruptLineIsNamedByItsNumber) {
  const TestFolder folder;
  const std::string good = to_json(at_step(1)).dump() + "\n";
  for (const char* bad : {"{\"step\": oops}\n", "{\"step\": 2}\n", "[]\n", "\n", "{\"event\": \"x\"}\n"}) {
    folder.write("m.jsonl", good + good + bad + good);
    try {
      read_metrics(folder / "m.jsonl");
      FAIL() << bad;
    } catch (const IoError& error) {
      EXPECT_NE(std::string(error.what()).find("m.jsonl:3: corrupt line"), std::string::npos) << error.what();
    }
  }
}

TEST(Metrics, ACorruptFileIsNotTruncated) {
  const TestFolder folder;
  const std::string text = to_json(at_step(1)).dump() + "\nnonsense\n" + to_json(at_step(2)).dump() + "\n";
  folder.write("m.jsonl", text);
  EXPECT_THROW(MetricsWriter(folder / "m.jsonl", 1), IoError);
  EXPECT_EQ(folder.read("m.jsonl"), text);
}

TEST(Metrics, ALossThatIsNotANumberSurvivesJson) {
  const TestFolder folder;
  StepMetrics m = at_step(1);
  m.loss = NAN;
  m.grad_norm = INFINITY;
  MetricsWriter(folder / "m.jsonl", 0).step(m);
  const MetricsFile file = read_metrics(folder / "m.jsonl");
  EXPECT_TRUE(std::isnan(file.steps.at(0).loss));
  EXPECT_TRUE(std::isnan(file.steps.at(0).grad_norm));
}

TEST(Metrics, AFolderThatDoesNotExistIsAnIoError) {
  EXPECT_THROW(MetricsWriter("/no/such/folder/m.jsonl", 0), IoError);
  EXPECT_THROW(read_metrics("/no/such/folder/m.jsonl"), IoError);
}

}  // namespace
}  // namespace shardit

#include "launcher/tensorboard.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "data/png.h"
#include "tests/launcher/event_reader.h"
#include "tests/launcher/test_folder.h"

namespace shardit {
namespace {

StepMetrics at_step(int64_t step) {
  StepMetrics m;
  m.step = step;
  m.loss = 0.25;
  m.step_ms = 500;
  m.images_per_s = 64;
  m.mem_bytes = int64_t{1} << 29;
  m.unit_norms = {1, 2, 2};
  return m;
}

RunConfig::TensorBoard every(int64_t steps, int64_t histogram_steps) {
  RunConfig::TensorBoard config;
  config.set_every_steps(steps);
  config.set_histogram_every_steps(histogram_steps);
  return config;
}

std::map<std::string, tensorboard::Summary::Value> values_of(const tensorboard::Event& event) {
  std::map<std::string, tensorboard::Summary::Value> values;
  for (const auto& value : event.summary().value()) values[value.tag()] = value;
  return values;
}

TEST(TensorBoard, StepsHaveTheUsualNames) {
  const TestFolder folder;
  PosixFiles files;
  TensorBoard(files, folder.path, every(1, 0), 0).step(at_step(1));
  const auto paths = event_files(folder.path);
  ASSERT_EQ(paths.size(), 1u);
  const auto events = read_events(paths[0]);
  ASSERT_EQ(events.size(), 3u);
  EXPECT_EQ(events[0].file_version(), "brain.Event:2");
  EXPECT_GT(events[0].wall_time(), 1.7e9) << "seconds since 1970";
  EXPECT_EQ(events[2].step(), 1);
  auto values = values_of(events[2]);
  EXPECT_EQ(values.at("loss_metrics/global_avg_loss").simple_value(), 0.25f);
  EXPECT_EQ(values.at("time_metrics/end_to_end(s)").simple_value(), 0.5f);
  EXPECT_EQ(values.at("throughput(img/s)").simple_value(), 64);
  EXPECT_EQ(values.at("memory/max_active(GiB)").simple_value(), 0.5f);
  EXPECT_FALSE(values.contains("mfu(%)")) << "the peak is not known";
  EXPECT_FALSE(values.contains("grad_norm/units")) << "no histograms are wanted";
}

TEST(TensorBoard, StepsOnGpusHaveWhatTheyTell) {
  const TestFolder folder;
  PosixFiles files;
  StepMetrics m = at_step(1);
  m.gpu = GpuReading{.watts = 512, .sm_mhz = 1755};
  TensorBoard(files, folder.path, every(1, 0), 0).step(m);
  auto values = values_of(read_events(event_files(folder.path)[0])[2]);
  EXPECT_EQ(values.at("gpu/power(W)").simple_value(), 512);
  EXPECT_EQ(values.at("gpu/sm_clock(MHz)").simple_value(), 1755);
  EXPECT_FALSE(values.contains("gpu/temperature(C)"));
}

TEST(TensorBoard, WritesAtTheStepsThatAreWanted) {
  const TestFolder folder;
  PosixFiles files;
  TensorBoard board(files, folder.path, every(2, 4), 0);
  for (int64_t step = 1; step <= 5; ++step) board.step(at_step(step));
  std::map<int64_t, bool> histogram;  // by step
  for (const auto& event : read_events(event_files(folder.path)[0]))
    if (event.has_summary()) histogram[event.step()] = values_of(event).contains("grad_norm/units");
  EXPECT_EQ(histogram, (std::map<int64_t, bool>{{1, true}, {2, false}, {4, true}}));
}

TEST(TensorBoard, ARunThatGoesOnTakesBackWhatOlderFilesSay) {
  const TestFolder folder;
  PosixFiles files;
  TensorBoard(files, folder.path, every(1, 0), 0).step(at_step(1));
  TensorBoard(files, folder.path, every(1, 0), 7).step(at_step(8));
  const auto paths = event_files(folder.path);
  ASSERT_EQ(paths.size(), 2u) << "names rise within a second, too";
  const auto events = read_events(paths[1]);
  ASSERT_EQ(events.size(), 3u);
  EXPECT_EQ(events[1].session_log().status(), tensorboard::SessionLog::START);
  EXPECT_EQ(events[1].step(), 8);
}

TEST(TensorBoard, ShowsValidationByShareOfTAndSamplesAndTheConfig) {
  const TestFolder folder;
  PosixFiles files;
  files.make_dir(folder / "samples");
  Image image;
  image.height = 2;
  image.width = 3;
  image.channels = 3;
  image.pixels.resize(18);
  write_png(folder / "samples/step.png", image);
  TensorBoard board(files, folder.path, every(1, 0), 0);
  board.event("start", 0, {{"config", "a: 1\nb: 2\n"}});
  board.event("validation", 5, {{"loss", 0.5}, {"bins", {0.25, 0.75}}});
  board.event("sample", 5, {{"path", "samples/step.png"}, {"images", 1}});
  board.event("save", 5, {});
  const auto events = read_events(event_files(folder.path)[0]);
  ASSERT_EQ(events.size(), 5u) << "a save is nothing to draw";
  EXPECT_EQ(values_of(events[2]).at("config").tensor().string_val(0), "    a: 1\n    b: 2\n    ");
  const auto validation = values_of(events[3]);
  EXPECT_EQ(validation.at("validation_metrics/loss").simple_value(), 0.5f);
  EXPECT_EQ(validation.at("validation_metrics/loss_t_0-50%").simple_value(), 0.25f);
  EXPECT_EQ(validation.at("validation_metrics/loss_t_50-100%").simple_value(), 0.75f);
  const auto picture = values_of(events[4]).at("samples").image();
  EXPECT_EQ(picture.height(), 2);
  EXPECT_EQ(picture.width(), 3);
  EXPECT_EQ(picture.colorspace(), 3);
  EXPECT_EQ(picture.encoded_image_string(), folder.read("samples/step.png"));
}

TEST(TensorBoard, AHistogramCountsEveryFiniteValueOnce) {
  const tensorboard::Histogram h = histogram({0.5, NAN, 3, 0.5, 0, INFINITY});
  EXPECT_EQ(h.num(), 4);
  EXPECT_EQ(h.min(), 0);
  EXPECT_EQ(h.max(), 3);
  EXPECT_EQ(h.sum(), 4);
  EXPECT_EQ(h.sum_squares(), 9.5);
  double all = 0, before = -1;
  for (int i = 0; i < h.bucket_size(); ++i) {
    all += h.bucket(i);
    EXPECT_GT(h.bucket_limit(i), before) << "limits rise";
    before = h.bucket_limit(i);
  }
  EXPECT_EQ(all, 4);
  EXPECT_GE(before, 3) << "the last bucket holds the largest";
  EXPECT_EQ(histogram({NAN}).num(), 0);
}

}  // namespace
}  // namespace shardit

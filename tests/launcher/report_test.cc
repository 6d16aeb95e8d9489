#include "launcher/report.h"

#include <gtest/gtest.h>
#include <png.h>

#include <cmath>
#include <set>

#include "core/error.h"
#include "launcher/chart.h"
#include "launcher/chart_scale.h"
#include "tests/launcher/test_folder.h"

namespace shardit {
namespace {

using std::string;

bool contains(const string& text, const string& part) { return text.find(part) != string::npos; }

// The smallest PNG there is: one grey pixel, written by libpng.
string small_png() {
  png_image image = {};
  image.version = PNG_IMAGE_VERSION;
  image.width = image.height = 1;
  image.format = PNG_FORMAT_GRAY;
  const uint8_t pixel = 128;
  string bytes(256, '\0');
  png_alloc_size_t size = bytes.size();
  EXPECT_TRUE(png_image_write_to_memory(&image, bytes.data(), &size, 0, &pixel, 0, nullptr));
  return bytes.substr(0, size);
}

StepMetrics metrics_at(int64_t step) {
  StepMetrics m;
  m.step = step;
  m.images = 256 * step;
  m.loss = 0.1 + 1.0 / static_cast<double>(step) + (step % 2 ? 0.02 : -0.02);
  m.grad_norm = 0.3 + 1.0 / static_cast<double>(step);
  m.lr = 1e-4;
  m.step_ms = 250 + static_cast<double>(step % 7);
  m.images_per_s = 256e3 / m.step_ms;
  m.mem_bytes = int64_t{1} << 29;
  m.comm_exposed_ms = 9;
  m.data_wait_ms = 1;
  return m;
}

// A run of `steps` steps with every event that the report reads.
void write_run(const TestFolder& run, int64_t steps) {
  MetricsWriter writer(run / "metrics.jsonl", 0);
  writer.event("start", 0,
               {{"ranks", 2},
                {"device", "cpu"},
                {"parameters", 7412345},
                {"environment", {{"cpu", "AMD <EPYC>"}, {"memory_bytes", int64_t{24} << 30}}},
                {"plan", {{{"class", "activations"}, {"bytes", 412 << 20}}}}});
  for (int64_t step = 1; step <= steps; ++step) {
    writer.step(metrics_at(step));
    if (step % 100 == 0) {
      writer.event("validation", step, {{"loss", 0.2}, {"bins", {0.4, 0.2, 0.1, 0.05}}});
      writer.event("save", step, {{"bytes", 118 << 20}, {"stall_ms", 31.5}, {"total_ms", 420.0}, {"digest", "abc123"}});
    }
  }
  run.write("config.textproto", "seed: 7\nema { name: \"slow\" }\n");
  std::filesystem::create_directory(run.path / "samples");
  run.write("samples/step-00000100.png", small_png());
  run.write("samples/step-00000200.png", small_png());
}

TEST(Report, ShowsEveryPartOfTheRun) {
  const TestFolder run;
  write_run(run, 400);
  const string path = write_report(run.path.string());
  EXPECT_EQ(path, run / "report.html");
  const string page = run.read("report.html");
  for (const char* part : {"Training loss",
                           "Validation loss",
                           "t 0–25 %",
                           "t 75–100 %",
                           "Gradient norm",
                           "Learning rate",
                           "Throughput",
                           "exposed communication",
                           "waiting for data",
                           "Planned memory by class",
                           "activations",
                           "412 MiB",
                           "Memory in use",
                           "step 100",
                           "step 200",
                           "abc123",
                           "118 MiB",
                           "31.5 ms",
                           "seed: 7",
                           "24.0 GiB",
                           "7.41M",
                           "102k"})
    EXPECT_TRUE(contains(page, part)) << part;
  EXPECT_TRUE(contains(page, "Where a step's time goes"));
  EXPECT_TRUE(contains(page, "AMD &lt;EPYC&gt;")) << "text from the run is escaped";
  EXPECT_TRUE(contains(page, "name: &quot;slow&quot;"));
}

TEST(Report, NeedsNothingBesideItself) {
  const TestFolder run;
  write_run(run, 50);
  const string page = report_page(read_run(run.path.string()));
  string outside = page;
  for (size_t at; (at = outside.find("http://www.w3.org/2000/svg")) != string::npos;) outside.erase(at, 26);
  for (const char* link : {"http:", "https:", "<link", "@import", "url(", "src=\"/", "fetch("})
    EXPECT_FALSE(contains(outside, link)) << link;
  EXPECT_TRUE(contains(page, "src=\"data:image/png;base64,iVBORw0KGgo"));
}

TEST(Report, ARunWithoutStepsSaysSo) {
  const TestFolder run;
  { MetricsWriter writer(run / "metrics.jsonl", 0); }
  EXPECT_TRUE(contains(report_page(read_run(run.path.string())), "No steps yet"));
  { MetricsWriter(run / "metrics.jsonl", 0).event("start", 0, {{"ranks", 1}}); }
  const string page = report_page(read_run(run.path.string()));
  EXPECT_TRUE(contains(page, "No steps yet"));
  EXPECT_FALSE(contains(page, "nan"));
}

TEST(Report, ARunOfOneStepAndOneThatDivergedAreDrawn) {
  const TestFolder run;
  MetricsWriter writer(run / "metrics.jsonl", 0);
  writer.step(metrics_at(1));
  EXPECT_TRUE(contains(report_page(read_run(run.path.string())), "Training loss"));
  StepMetrics diverged = metrics_at(2);
  diverged.loss = diverged.grad_norm = NAN;
  writer.step(diverged);
  const string page = report_page(read_run(run.path.string()));
  EXPECT_TRUE(contains(page, "<b>nan</b>")) << "the tile tells the truth";
  EXPECT_FALSE(contains(page, "nan,")) << "no such coordinate reaches a chart";
  EXPECT_FALSE(contains(page, ",nan"));
  EXPECT_FALSE(contains(page, "inf"));
}

TEST(Report, AFolderThatIsNoRunIsTheUsersMistake) {
  const TestFolder folder;
  EXPECT_THROW(read_run(folder / "absent"), UserError);
  EXPECT_THROW(read_run(folder.path.string()), UserError);
  std::filesystem::create_directory(folder / "metrics.jsonl");
  EXPECT_THROW(read_run(folder.path.string()), UserError);
}

TEST(Report, ACorruptMetricsLineIsAnIoErrorAndKeepsTheOldPage) {
  const TestFolder run;
  run.write("metrics.jsonl", "garbage\n");
  run.write("report.html", "old");
  EXPECT_THROW(write_report(run.path.string()), IoError);
  EXPECT_EQ(run.read("report.html"), "old");
}

TEST(Report, ManySampleGridsAreThinnedAndTheNewestStays) {
  const TestFolder run;
  { MetricsWriter(run / "metrics.jsonl", 0).step(metrics_at(1)); }
  std::filesystem::create_directory(run.path / "samples");
  for (int i = 1; i <= 40; ++i) run.write("samples/step-000000" + std::to_string(i + 10) + ".png", std::to_string(i));
  const RunRecord record = read_run(run.path.string());
  ASSERT_EQ(record.samples.size(), kMostSamples);
  EXPECT_EQ(record.samples.front().png, "1");
  EXPECT_EQ(record.samples.back().png, "40");
  EXPECT_TRUE(contains(report_page(record), "13 of 40 grids"));
}

TEST(Report, ALongRunStaysSmall) {
  RunRecord run;
  for (int64_t step = 1; step <= 200000; ++step) run.metrics.steps.push_back(metrics_at(step));
  EXPECT_LT(report_page(run).size(), 1u << 20);
}

TEST(Axis, TicksAreRoundAndInside) {
  const auto ticks = [](double low, double high, bool log) { return Axis{low, high, log}.ticks(5); };
  EXPECT_EQ(ticks(0, 10, false), (std::vector<double>{0, 2, 4, 6, 8, 10}));
  EXPECT_EQ(ticks(1, 100, true), (std::vector<double>{1, 2, 5, 10, 20, 50, 100}));
  for (double tick : ticks(-0.37, 0.91, false)) {
    EXPECT_GE(tick, -0.3700001);
    EXPECT_LE(tick, 0.9100001);
  }
}

TEST(Axis, TickTextIsShort) {
  EXPECT_EQ(tick_text(0), "0");
  EXPECT_EQ(tick_text(0.15), "0.15");
  EXPECT_EQ(tick_text(400000), "400k");
  EXPECT_EQ(tick_text(3e6), "3M");
  EXPECT_EQ(tick_text(1e-4), "1e-4");
  EXPECT_EQ(tick_text(2000), "2000");
}

TEST(Axis, AConstantCurveStillHasARange) {
  for (double value : {0.0, 5.0, -5.0, 1e-9}) {
    const Axis axis = fit_axis({value, value}, 0, 1, false, false);
    EXPECT_LT(axis.low, axis.high);
    EXPECT_LE(axis.low, value);
    EXPECT_GE(axis.high, value);
  }
}

TEST(Smooth, IsTheMeanOfTheWindow) {
  const std::vector<Point> points = {{1, 0}, {2, 3}, {3, 0}, {4, NAN}, {5, 3}};
  const std::vector<Point> smoothed = smooth(points, 3);
  ASSERT_EQ(smoothed.size(), 4u);
  EXPECT_EQ(smoothed[0].y, 0);  // the window is symmetric, so it is narrow at the ends
  EXPECT_EQ(smoothed[1].y, 1);
  EXPECT_EQ(smoothed[2].y, 2);
  EXPECT_EQ(smoothed[3].y, 3);
}

// How many different colours an image has.
size_t colours_of(const string& path, uint32_t* width, uint32_t* height) {
  png_image image = {};
  image.version = PNG_IMAGE_VERSION;
  if (!png_image_begin_read_from_file(&image, path.c_str())) return 0;
  image.format = PNG_FORMAT_RGBA;
  std::vector<uint32_t> pixels(image.width * image.height);
  png_image_finish_read(&image, nullptr, pixels.data(), 0, nullptr);
  *width = image.width;
  *height = image.height;
  return std::set<uint32_t>(pixels.begin(), pixels.end()).size();
}

TEST(Report, ABrowserRendersIt) {
  if (system("command -v chromium >/dev/null 2>&1") != 0) GTEST_SKIP() << "chromium is not installed";
  const TestFolder run;
  write_run(run, 300);
  const string page = write_report(run.path.string());
  const string shot = run / "shot.png", dom = run / "dom.html";
  const string chromium = "HOME=" + run.path.string() + " timeout 100 chromium --headless --no-sandbox --disable-gpu ";
  ASSERT_EQ(
      system(
          (chromium + "--window-size=1280,2400 --screenshot=" + shot + " file://" + page + " >/dev/null 2>&1").c_str()),
      0);
  uint32_t width = 0, height = 0;
  EXPECT_GT(colours_of(shot, &width, &height), 100u) << "text, curves and areas; an empty page has a handful";
  EXPECT_EQ(width, 1280u);
  EXPECT_EQ(height, 2400u);
  ASSERT_EQ(system((chromium + "--dump-dom file://" + page + " >" + dom + " 2>/dev/null").c_str()), 0);
  const string rendered = run.read("dom.html");
  size_t readouts = 0;
  for (size_t at = 0; (at = rendered.find("class=\"readout\"", at)) != string::npos; ++at) ++readouts;
  EXPECT_EQ(readouts, 7u) << "the script ran to its end: one readout per chart";
}

}  // namespace
}  // namespace shardit

#include "launcher/progress.h"

#include <gtest/gtest.h>

#include <sstream>

#include "launcher/format.h"

namespace shardit {
namespace {

TEST(Format, BytesHaveThreeDigits) {
  EXPECT_EQ(format_bytes(0), "0 B");
  EXPECT_EQ(format_bytes(512), "512 B");
  EXPECT_EQ(format_bytes(1536), "1.50 KiB");
  EXPECT_EQ(format_bytes(44238176256.0), "41.2 GiB");
  EXPECT_EQ(format_bytes(1024.0 * 1024 - 1), "1.00 MiB") << "never 1024 KiB";
  EXPECT_EQ(format_bytes(999.6 * 1024), "1000 KiB");
}

TEST(Format, DurationsHaveTwoUnits) {
  EXPECT_EQ(format_duration(0.84), "0.8s");
  EXPECT_EQ(format_duration(12), "12s");
  EXPECT_EQ(format_duration(59.7), "1m00s");
  EXPECT_EQ(format_duration(247), "4m07s");
  EXPECT_EQ(format_duration(3 * 3600 + 5 * 60), "3h05m");
  EXPECT_EQ(format_duration(8 * 86400 + 19 * 3600 + 1), "8d19h");
  EXPECT_EQ(format_duration(1.0 / 0.0), "?");
}

TEST(Format, CountsAndTimes) {
  EXPECT_EQ(format_count(950), "950");
  EXPECT_EQ(format_count(561330144), "561M");
  EXPECT_EQ(format_count(12800), "12.8k");
  EXPECT_EQ(format_ms(254.4), "254 ms");
  EXPECT_EQ(format_ms(0.834), "0.83 ms");
  EXPECT_EQ(format_ms(12345), "12.3 s");
}

StepMetrics example() {
  StepMetrics m;
  m.step = 1200;
  m.loss = 0.14821;
  m.grad_norm = 0.2312;
  m.lr = 1e-4;
  m.step_ms = 254;
  m.images_per_s = 1008;
  m.mfu = 0.399;
  m.mem_bytes = 44238176256;
  m.comm_exposed_ms = 7.87;
  m.data_wait_ms = 0.508;
  m.slowest_rank = 5;
  m.slowest_rank_ms = 266;
  return m;
}

TEST(LogLine, CarriesWhatUsersExpect) {
  const RunFacts facts = {.steps = 3000000, .ranks = 8, .planned_bytes = 49392123904, .peak_tflops = 989};
  EXPECT_EQ(format_step(example(), facts, 1008, 8 * 86400 + 19 * 3600),
            "step 1200/3000000 | loss 0.1482 | gnorm 0.231 | lr 1.00e-4 | 254 ms | 1008 img/s (126/rank) | "
            "mfu 39.9% (989 TF dense) | mem 41.2/46.0 GiB | comm exposed 3.1% | data 0.2% | slowest rank 5 266 ms | "
            "eta 8d19h");
}

TEST(LogLine, SaysWhatTheGpusTell) {
  StepMetrics m = example();
  m.gpu = GpuReading{.watts = 512.25, .celsius = 61, .sm_mhz = 1755, .throttle = 0x4 | 0x20};
  const auto line = [&] { return format_step(m, {.steps = 2000}, 81.3, -1); };
  EXPECT_NE(line().find(" | mem 41.2 GiB | gpu 512 W 61 °C 1755 MHz sw_power_cap sw_thermal_slowdown | data"),
            std::string::npos)
      << line();
  m.gpu = GpuReading{.celsius = 61};
  EXPECT_NE(line().find(" | gpu 61 °C | "), std::string::npos);
}

TEST(LogLine, LeavesOutWhatIsUnknownOrMeansNothingOnOneRank) {
  StepMetrics m = example();
  m.mfu.reset();
  EXPECT_EQ(format_step(m, {.steps = 2000}, 81.3, -1),
            "step 1200/2000 | loss 0.1482 | gnorm 0.231 | lr 1.00e-4 | 254 ms | 81.3 img/s | mem 41.2 GiB | "
            "data 0.2%");
}

TEST(LogLine, WritesLearningRatesWithoutPadding) {
  StepMetrics m = example();
  m.lr = 0;
  EXPECT_NE(format_step(m, {.steps = 1}, 1, -1).find("lr 0.00e0 "), std::string::npos);
  m.lr = 1.5e-12;
  EXPECT_NE(format_step(m, {.steps = 1}, 1, -1).find("lr 1.50e-12 "), std::string::npos);
}

int count(const std::string& text, const std::string& part) {
  int n = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++n;
  return n;
}

TEST(StepLog, PrintsTheFirstStepsThenEveryFewSecondsAndTheLast) {
  std::ostringstream out;
  StepLog log({&out}, {.steps = 103, .first_step = 3}, 0);
  for (int i = 4; i <= 103; ++i) {
    StepMetrics m = example();
    m.step = i;
    log.step(m, 0.25 * (i - 3));
  }
  EXPECT_EQ(count(out.str(), "\n"), 5 + 4 + 1);  // 25 s: at 6.25, 11.25, 16.25, 21.25, and the end
  EXPECT_NE(out.str().find("step 4/103"), std::string::npos);
  EXPECT_NE(out.str().find("step 103/103"), std::string::npos);
  EXPECT_EQ(out.str().find('\r'), std::string::npos) << "a file gets plain lines only";
}

TEST(StepLog, SmoothsSpeedByTheMedian) {
  std::ostringstream out;
  StepLog log({&out}, {.steps = 3}, 0);
  for (int i = 1; i <= 3; ++i) {
    StepMetrics m = example();
    m.step = i;
    m.images_per_s = i == 3 ? 1 : 100;  // one stalled step
    log.step(m, i);
  }
  EXPECT_NE(out.str().find("step 3/3 | loss 0.1482 | gnorm 0.231 | lr 1.00e-4 | 254 ms | 100 img/s"),
            std::string::npos);
}

TEST(StepLog, RedrawsABarBelowTheLinesOnATerminal) {
  std::ostringstream out;
  {
    StepLog log({&out, true, 100}, {.steps = 1000}, 0);
    for (int i = 1; i <= 20; ++i) {
      StepMetrics m = example();
      m.step = i;
      log.step(m, 0.25 * i);
    }
  }
  EXPECT_NE(out.str().find("\r[>"), std::string::npos) << out.str();
  EXPECT_GT(count(out.str(), "\r"), 15);
  EXPECT_LE(count(out.str(), "\n"), 7);
}

TEST(ProgressBar, ShowsShareSpeedAndTimeLeft) {
  std::ostringstream out;
  {
    ProgressBar bar({&out, true, 80}, "sampling", 64, "images", 0);
    bar.update(32, 8);
  }
  EXPECT_EQ(out.str(), "\rsampling [===============>              ] 50% 32/64 images, 4/s, eta 8.0s\x1b[K\n");
}

TEST(ProgressBar, NeverExceedsTheTerminal) {
  for (int columns : {25, 40, 60, 200}) {
    std::ostringstream out;
    ProgressBar bar({&out, true, columns}, "sampling", 64, "images", 0);
    bar.update(33, 8);
    EXPECT_LT(out.str().size() - std::string("\r\x1b[K").size(), static_cast<size_t>(columns));
  }
}

TEST(ProgressBar, PrintsPlainLinesNowAndThenElsewhere) {
  std::ostringstream out;
  ProgressBar bar({&out}, "sampling", 100, "images", 0);
  for (int i = 1; i <= 100; ++i) bar.update(i, 0.2 * i);
  EXPECT_EQ(count(out.str(), "\n"), 1 + 3 + 1);  // 20 s: the first, 5.2, 10.2, 15.2, the end
  EXPECT_NE(out.str().find("sampling 100% 100/100 images, 5/s, took 20s\n"), std::string::npos) << out.str();
}

TEST(ProgressBar, WorkOfAnEarlierStartDoesNotCountAsSpeed) {
  std::ostringstream out;
  ProgressBar bar({&out}, "sampling", 100, "images", 0);
  bar.start_at(50);
  bar.update(60, 10);
  EXPECT_EQ(out.str(), "sampling 60% 60/100 images, 1/s, eta 40s\n");
}

TEST(ProgressBar, NothingToDoIsDone) {
  std::ostringstream out;
  ProgressBar bar({&out, true, 80}, "sampling", 0, "images", 0);
  bar.update(0, 1);
  EXPECT_NE(out.str().find("100% 0/0"), std::string::npos);
}

}  // namespace
}  // namespace shardit

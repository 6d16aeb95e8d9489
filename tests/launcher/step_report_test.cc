#include "launcher/step_report.h"

#include <gtest/gtest.h>

namespace shardit {
namespace {

// A rank whose GPU tells nothing changes nothing, and two on one GPU count like one.
TEST(StepReport, OfSeveralGpusIsOfTheWorst) {
  std::vector<StepReport> reports(4);
  reports[1].gpu = {.watts = 500, .celsius = 60, .sm_mhz = 1700, .throttle = 0x4};
  reports[2].gpu = {.watts = 400, .celsius = 70, .sm_mhz = 1800, .throttle = 0x20};
  reports[3].gpu = {.celsius = 50};
  const StepMetrics m = step_metrics(1, 8, {}, reports);
  ASSERT_TRUE(m.gpu);
  EXPECT_EQ(m.gpu->watts, 500);
  EXPECT_EQ(m.gpu->celsius, 70);
  EXPECT_EQ(m.gpu->sm_mhz, 1700);
  EXPECT_EQ(m.gpu->throttle, 0x24u);
  EXPECT_FALSE(step_metrics(1, 8, {}, {StepReport{}}).gpu);
}

// By a real driver's NVML as well as without one: nothing is at that place.
TEST(StepReport, SaysWhyAGpuTellsNothing) {
  RunLog log(true);
  testing::internal::CaptureStdout();
  EXPECT_FALSE(open_gauge("ffff:ff:1f.7", log));
  const std::string said = testing::internal::GetCapturedStdout();
  EXPECT_EQ(said.find("no watts, heat and clock of the GPU in the log: "), 0u) << said;
}

}  // namespace
}  // namespace shardit

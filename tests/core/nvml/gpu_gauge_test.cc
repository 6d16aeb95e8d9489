// By doubles of NVML (fake_nvml.cc).
#include "core/gpu_gauge.h"

#include <gtest/gtest.h>

#include "core/error.h"

namespace shardit {
namespace {

using Names = std::vector<std::string>;

const std::string kWhole = "0000:3b:00.0", kPoor = "0001:af:00.0";

TEST(GpuGauge, ReadsWattsHeatClockAndWhatSlowsIt) {
  const GpuReading reading = GpuGauge(kWhole).read();
  EXPECT_EQ(reading.watts, 512.25);
  EXPECT_EQ(reading.celsius, 61);
  EXPECT_GE(reading.sm_mhz, 1700);
  EXPECT_EQ(throttle_reasons(reading.throttle), (Names{"sw_power_cap", "sw_thermal_slowdown"}));
}

TEST(GpuGauge, AsksOnceASecond) {
  GpuGauge gauge(kWhole);
  const double first = gauge.read().sm_mhz;
  EXPECT_EQ(gauge.read().sm_mhz, first);
  EXPECT_NE(GpuGauge(kWhole).read().sm_mhz, first);  // the double says another one each time
}

TEST(GpuGauge, LeavesOutWhatTheGpuMayNotOrCannotTell) {
  const GpuReading reading = GpuGauge(kPoor).read();
  EXPECT_TRUE(reading.told());
  EXPECT_EQ(reading.celsius, 61);
  EXPECT_LT(reading.watts, 0);
  EXPECT_LT(reading.sm_mhz, 0);
  EXPECT_EQ(throttle_reasons(reading.throttle), Names{});
}

TEST(GpuGauge, AnotherGpuIsNamed) {
  try {
    GpuGauge gauge("0000:00:00.0");
    FAIL() << "nobody noticed";
  } catch (const DeviceError& error) {
    EXPECT_STREQ(error.what(), "NVML does not find the GPU at 0000:00:00.0: Not Found");
  }
}

}  // namespace
}  // namespace shardit

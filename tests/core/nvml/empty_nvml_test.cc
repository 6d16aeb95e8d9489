#include <gtest/gtest.h>

#include "core/error.h"
#include "core/gpu_gauge.h"

namespace shardit {
namespace {

TEST(GpuGauge, NamesWhatTheLibraryLacks) {
  for (int i = 0; i < 2; ++i) {  // the second time as well
    try {
      GpuGauge gauge("0000:3b:00.0");
      FAIL() << "nobody noticed";
    } catch (const DeviceError& error) {
      EXPECT_STREQ(error.what(), "libnvidia-ml.so.1 has no nvmlInit_v2: it is too old, or no NVML");
    }
  }
}

}  // namespace
}  // namespace shardit

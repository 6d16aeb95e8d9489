#include "dist/nccl_version.h"

#include <gtest/gtest.h>

namespace shardit {
namespace {

std::string refusal(int version) {
  try {
    check_nccl_version(version, "/usr/lib/libnccl.so.2");
  } catch (const DeviceError& error) {
    return error.what();
  }
  return "";
}

TEST(NcclVersion, TooOldIsRefusedWithWhatIsExpected) {
  EXPECT_EQ(refusal(22105),
            "NCCL is 2.21.5 (/usr/lib/libnccl.so.2); expected 2.22.3 or later\ninstall a newer libnccl2, or put its "
            "folder in front of LD_LIBRARY_PATH");
  EXPECT_EQ(refusal(2804).find("NCCL is 2.8.4 "), 0u);  // the old form
  EXPECT_EQ(refusal(kOldestNccl - 1).find("NCCL is 2.22.2 "), 0u);
  for (int version : {kOldestNccl, 22809, 23007, 30000}) EXPECT_EQ(refusal(version), "") << version;
}

TEST(NcclVersion, IsTheSameOnAllRanksOrTheFirstOtherIsNamed) {
  check_same_nccl({"2.28.9", "2.28.9"});
  try {
    check_same_nccl({"2.28.9", "2.28.9", "2.27.3", "2.28.9"});
    FAIL() << "nobody noticed";
  } catch (const DeviceError& error) {
    EXPECT_STREQ(
        error.what(),
        "rank 2 has NCCL 2.27.3 where rank 0 has 2.28.9; expected one version on all machines\ninstall the same "
        "libnccl2 on its machine");
  }
}

}  // namespace
}  // namespace shardit

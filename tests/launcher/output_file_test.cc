#include "launcher/output_file.h"

#include <gtest/gtest.h>

#include "core/error.h"
#include "tests/launcher/test_folder.h"

namespace shardit {
namespace {

TEST(OutputFile, WhatTheDiskCannotHoldIsRefusedWithBothSizes) {
  const TestFolder folder;
  EXPECT_NO_THROW(check_room(folder / "small", 1));
  EXPECT_NO_THROW(check_room("relative", 1));
  try {
    check_room(folder / "large", uint64_t{1} << 62);
    ADD_FAILURE();
  } catch (const IoError& error) {
    const std::string what = error.what();
    EXPECT_NE(what.find("large' will take 4096 PiB, and its disk has "), std::string::npos) << what;
  }
}

}  // namespace
}  // namespace shardit

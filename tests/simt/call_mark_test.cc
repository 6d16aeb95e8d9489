#include "dist/call_mark.h"

#include <gtest/gtest.h>

namespace shardit {
namespace {

TEST(CallMark, CountsOneEachTimeTheStreamComesToIt) {
  uint64_t around[3] = {7, (uint64_t{1} << 32) - 2, 9};
  for (int i = 0; i < 3; ++i) mark_call(&around[1], nullptr);
  EXPECT_EQ(around[1], (uint64_t{1} << 32) + 1);
  EXPECT_EQ(around[0], 7u);
  EXPECT_EQ(around[2], 9u);
}

}  // namespace
}  // namespace shardit

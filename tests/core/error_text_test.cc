#include "core/error_text.h"

#include <gtest/gtest.h>

namespace shardit {
namespace {

TEST(ErrorText, BeginsWithTheSpeakerAndIndentsWhatFollows) {
  EXPECT_EQ(error_text("shardit", "no such file"), "shardit: no such file\n");
  EXPECT_EQ(error_text("shardit, rank 3", "the disk is full\nfix: make room"),
            "shardit, rank 3: the disk is full\n  fix: make room\n");
}

TEST(ErrorText, IsAtMostThreeLinesAndNoneWithoutAMessage) {
  EXPECT_EQ(error_text("shardit", "one\ntwo\nthree\nfour"), "shardit: one\n  two\n  three\n");
  EXPECT_EQ(error_text("shardit", ""), "");
}

}  // namespace
}  // namespace shardit

// Tests that hold an error's message against what it must say.
#pragma once

#include <gtest/gtest.h>

#include <string>

namespace shardit {

// The message of the E that `body` throws; fails the test if it throws none.
template <typename E, typename Body> std::string error_of(Body&& body) {
  try {
    body();
  } catch (const E& error) {
    return error.what();
  }
  ADD_FAILURE() << "no error was thrown";
  return "";
}

#define EXPECT_HAS(text, part) EXPECT_NE((text).find(part), std::string::npos) << (text)

}  // namespace shardit

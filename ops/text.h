// Numbers in attribute texts: all digits, since equal texts stand for equal attributes.
#pragma once

#include <cstdio>
#include <string>

namespace shardit {

inline std::string text_of(double x) {
  char digits[32];
  std::snprintf(digits, sizeof digits, "%.17g", x);
  return digits;
}

}  // namespace shardit

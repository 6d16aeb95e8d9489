#include "core/error_text.h"

#include <sstream>

namespace shardit {

std::string error_text(const std::string& speaker, const std::string& message) {
  constexpr int kMostLines = 3;
  std::istringstream lines(message);
  std::string text, line;
  for (int i = 0; i < kMostLines && std::getline(lines, line); ++i)
    text += (i == 0 ? speaker + ": " : "  ") + line + "\n";
  return text;
}

}  // namespace shardit

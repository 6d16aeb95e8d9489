#include "launcher/ranks.h"

#include <algorithm>

namespace shardit {

bool Ranks::any(const char* what, bool mine) {
  const std::vector<char> each = all(what, static_cast<char>(mine));
  return std::find(each.begin(), each.end(), 1) != each.end();
}

}  // namespace shardit

// Names in an error message.
#pragma once

#include <string>
#include <vector>

namespace shardit {

std::string listed(const std::vector<std::string>& names);  // "a, b, c and 7 more"

}  // namespace shardit

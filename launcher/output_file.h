// Files that a command writes at its end: a path that cannot work is told before the work, not after it.
#pragma once

#include <string>

namespace shardit {

// UserError if `path` is a folder, or lies in one that does not exist.
void check_output_file(const std::string& path);

}  // namespace shardit

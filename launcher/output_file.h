// Files that a command writes: a path that cannot work is told before the work, not after it, and what is replaced
// stays until the new text is there.
#pragma once

#include <string>

#include "checkpoints/file_system.h"

namespace shardit {

// UserError if `path` is a folder, or lies in one that does not exist.
void check_output_file(const std::string& path);

// Writes the whole text or leaves what was there; throws IoError.
void replace_file(FileSystem& files, const std::string& path, const std::string& text);

}  // namespace shardit

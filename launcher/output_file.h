// Files that a command writes: a path that cannot work is told before the work, not after it, and what is replaced
// stays until the new text is there.
#pragma once

#include <cstdint>
#include <string>

#include "checkpoints/file_system.h"

namespace shardit {

// UserError if `path` is a folder, or lies in one that does not exist.
void check_output_file(const std::string& path);

// IoError if the disk of `path` has less free than the file will take; what is there already makes no room, for it
// stays until the new file is whole.
void check_room(const std::string& path, uint64_t bytes);

// Writes the whole text or leaves what was there; throws IoError.
void replace_file(FileSystem& files, const std::string& path, const std::string& text);

}  // namespace shardit

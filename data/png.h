// Pictures to PNG files.
#pragma once

#include <string>

#include "data/image.h"

namespace shardit {

// Throws IoError with the path if the file cannot be written.
// REQUIRES: 1 or 3 channels, and pixels of the stated extents.
void write_png(const std::string& path, const Image& image);

}  // namespace shardit

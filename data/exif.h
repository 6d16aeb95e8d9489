// The one thing of EXIF that a user may ask about: which way up the picture is.
#pragma once

#include <cstdint>
#include <span>

namespace shardit {

// `marker`: the contents of a JPEG's APP1. 1 (upright) unless it is EXIF that says 2 to 8; whatever is broken is 1.
int exif_orientation(std::span<const uint8_t> marker);

}  // namespace shardit

// A small proportional bitmap font for labels in pictures: letters, digits and a few signs, nine rows high.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "data/image.h"

namespace shardit {

inline constexpr int64_t kFontHeight = 9;  // rows: seven above the base line, two below
inline constexpr int64_t kFontAscent = 7;

// Pixels that `text` is wide, every font pixel drawn as scale x scale.
int64_t text_width(const std::string& text, int64_t scale);

// Draws `text` with its top left corner at (y, x), in the grey level `ink`. What falls outside is cut off; a character
// that the font lacks is drawn as '?'.
void draw_text(Image& image, int64_t y, int64_t x, const std::string& text, int64_t scale, uint8_t ink);

}  // namespace shardit

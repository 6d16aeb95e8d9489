// Pictures to other sizes, as Pillow computes them for 8 bits, to the last bit: weights from double, rounded to 22 bits
// after the point; columns first, rounded to bytes, then rows. Rows first if they become fewer by more than twice as
// many as columns do, as Pillow has it since 13.0.
#pragma once

#include "data/image.h"

namespace shardit {

enum class Filter {
  kBox,      // the mean of what a pixel covers
  kBicubic,  // Keys' cubic with a = -1/2, widened where the picture shrinks
};

struct CropWindow {
  int64_t y = 0, x = 0, height = 0, width = 0;
};

// The part `window` of `image` resized to height x width; the rest is not computed.
// REQUIRES: the window lies in the resized picture.
Image resize(const Image& image, int64_t height, int64_t width, Filter filter, const CropWindow& window);

// ADM's centre crop (Dhariwal and Nichol 2021, center_crop_arr), for any size of picture: halved by kBox while the
// shorter side is at least twice `side`, then resized by kBicubic until it is `side`, then the centre square.
Image centre_crop(const Image& image, int64_t side);

}  // namespace shardit

// Many small images as one picture: rows and columns on white, a label to the left of each row.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/image.h"

namespace shardit {

struct GridOptions {
  int64_t columns = 10;                 // images in a row; the last row may be shorter
  int64_t scale = 0;                    // each pixel becomes scale x scale; 0: small images grow to about 64 pixels
  std::vector<std::string> row_labels;  // one per row, or none
};

// `images`: [count, height, width, channels] bytes, channels 1 or 3.
// Throws UserError on other channels, no images, or labels that are not one per row.
Image make_grid(const uint8_t* images, int64_t count, int64_t height, int64_t width, int64_t channels,
                const GridOptions& options);

}  // namespace shardit

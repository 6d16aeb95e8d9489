// The two decoders behind decode.h.
#pragma once

#include "data/decode.h"

namespace shardit {

ImageHeader read_jpeg_header(std::span<const uint8_t> bytes);
Image decode_jpeg(std::span<const uint8_t> bytes);

ImageHeader read_png_header(std::span<const uint8_t> bytes);
Image decode_png(std::span<const uint8_t> bytes);

// The header, if its extents are ones that are decoded; throws CorruptImage.
ImageHeader checked(const ImageHeader& header);

}  // namespace shardit

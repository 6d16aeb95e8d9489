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

// What to throw, before anything of that size is allocated, where `bytes` bytes cannot hold the header's pixels.
CorruptImage bomb(const ImageHeader& header, int64_t bytes);

}  // namespace shardit

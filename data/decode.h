// A JPEG or PNG file in memory to 8-bit RGB, with the pixels that Pillow's `convert("RGB")` gives.
//
// What a file is decides its first bytes, never its name. Grey is repeated, alpha dropped, a palette looked up, CMYK
// (inverted, as Adobe writes it) multiplied out; 16-bit colour keeps its high byte, and 16-bit grey is cut at 255.
// Colour profiles, gamma and the orientation of EXIF change nothing.
//
// The bytes come from anywhere. What is damaged, cut short, or says sizes that it cannot hold is a CorruptImage.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "data/corrupt_image.h"
#include "data/image.h"

namespace shardit {

struct ImageHeader {
  enum Format { kJpeg, kPng } format = kJpeg;
  enum Colour { kGrey, kGreyAlpha, kPalette, kRgb, kRgba, kCmyk } colour = kRgb;
  int64_t width = 0, height = 0;
  int bits = 8;              // per channel; of a palette's index
  bool progressive = false;  // or interlaced
  int orientation = 1;       // of a JPEG's EXIF, 1 to 8: upright is 1. Not applied
};

const char* name_of(ImageHeader::Format format);  // "jpeg", "png"
const char* name_of(ImageHeader::Colour colour);  // "grey", "grey with alpha", "palette", "rgb", "rgba", "cmyk"

// Larger ones are refused, as Pillow does: nobody trains on them, and a header of a few bytes asks for gigabytes.
inline constexpr int64_t kMaxImagePixels = 178'956'970;
// No picture of so many pixels needs more: 16 bits for each of four channels, and half as much again.
inline constexpr uint64_t kMaxImageBytes = 12 * kMaxImagePixels;

std::string jpeg_library_version();  // other versions may give other pixels

// Only as many bytes as the header has need to be there.
ImageHeader read_image_header(std::span<const uint8_t> bytes);
Image decode_image(std::span<const uint8_t> bytes);  // [height, width, 3]

}  // namespace shardit

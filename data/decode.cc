#include "data/decode.h"

#include <algorithm>
#include <array>
#include <cstdio>

#include "data/decoders.h"

namespace shardit {
namespace {

bool begins_with(std::span<const uint8_t> bytes, std::initializer_list<uint8_t> magic) {
  return bytes.size() >= magic.size() && std::equal(magic.begin(), magic.end(), bytes.begin());
}

ImageHeader::Format format_of(std::span<const uint8_t> bytes) {
  if (begins_with(bytes, {0xff, 0xd8, 0xff})) return ImageHeader::kJpeg;
  if (begins_with(bytes, {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'})) return ImageHeader::kPng;
  if (bytes.empty()) throw CorruptImage("the file is empty");
  std::string head;
  for (uint8_t byte : bytes.first(std::min<size_t>(bytes.size(), 4))) {
    char text[4];
    std::snprintf(text, sizeof text, " %02x", byte);
    head += text;
  }
  throw CorruptImage("it begins with" + head + ": neither JPEG nor PNG");
}

}  // namespace

const char* name_of(ImageHeader::Format format) { return format == ImageHeader::kJpeg ? "jpeg" : "png"; }

const char* name_of(ImageHeader::Colour colour) {
  return std::array{"grey", "grey with alpha", "palette", "rgb", "rgba", "cmyk"}.at(colour);
}

ImageHeader checked(const ImageHeader& header) {
  if (header.width < 1 || header.height < 1 || header.width > kMaxImagePixels / header.height)
    throw CorruptImage("it says it has " + std::to_string(header.width) + " x " + std::to_string(header.height) +
                       " pixels: expected 1 to " + std::to_string(kMaxImagePixels));
  return header;
}

CorruptImage bomb(const ImageHeader& header, int64_t bytes) {
  return CorruptImage(std::string(header.format == ImageHeader::kJpeg ? "as a JPEG" : "as a PNG") +
                      ": it says it has " + std::to_string(header.width) + " x " + std::to_string(header.height) +
                      " pixels, which " + std::to_string(bytes) + " bytes cannot hold");
}

ImageHeader read_image_header(std::span<const uint8_t> bytes) {
  return format_of(bytes) == ImageHeader::kJpeg ? read_jpeg_header(bytes) : read_png_header(bytes);
}

Image decode_image(std::span<const uint8_t> bytes) {
  return format_of(bytes) == ImageHeader::kJpeg ? decode_jpeg(bytes) : decode_png(bytes);
}

}  // namespace shardit

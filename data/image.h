// One 8-bit picture in memory, rows top to bottom: grey (1 channel) or RGB (3 channels).
#pragma once

#include <cstdint>
#include <vector>

namespace shardit {

struct Image {
  int64_t height = 0, width = 0, channels = 1;
  std::vector<uint8_t> pixels;  // [height, width, channels]

  Image() = default;
  Image(int64_t height, int64_t width, int64_t channels, uint8_t value)
      : height(height),
        width(width),
        channels(channels),
        pixels(height * width * channels, value) {}
  uint8_t* at(int64_t y, int64_t x) { return pixels.data() + (y * width + x) * channels; }
};

}  // namespace shardit

// One input that holds two files: four bytes, little-endian, with the length of the first, then both.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <string>

namespace shardit {

struct TwoFiles {
  std::span<const uint8_t> first, second;
};

// Whatever the bytes are: a length that lies gives the first file all there is.
inline TwoFiles split(const uint8_t* data, size_t size) {
  if (size < 4) return {};
  const size_t stated = data[0] | data[1] << 8 | data[2] << 16 | static_cast<size_t>(data[3]) << 24;
  const std::span<const uint8_t> both(data + 4, size - 4);
  const size_t length = std::min(stated, both.size());
  return {both.first(length), both.subspan(length)};
}

// What split takes apart.
inline std::string join(const std::string& first, const std::string& second) {
  std::string both;
  for (int i = 0; i < 4; ++i) both.push_back(static_cast<char>(first.size() >> (8 * i)));
  return both + first + second;
}

}  // namespace shardit

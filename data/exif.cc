#include "data/exif.h"

#include <algorithm>
#include <cstring>

namespace shardit {
namespace {

// TIFF: numbers in the byte order that its first two bytes name. Beyond the end they are zero.
struct Tiff {
  std::span<const uint8_t> bytes;
  bool little = false;

  uint32_t number(size_t at, size_t width) const {
    if (at > bytes.size() || width > bytes.size() - at) return 0;
    uint32_t value = 0;
    for (size_t i = 0; i < width; ++i) value = value << 8 | bytes[at + (little ? width - 1 - i : i)];
    return value;
  }
};

}  // namespace

int exif_orientation(std::span<const uint8_t> marker) {
  constexpr uint8_t kHead[] = {'E', 'x', 'i', 'f', 0, 0};
  constexpr uint32_t kOrientation = 0x0112, kShort = 3;
  if (marker.size() < sizeof kHead + 8 || std::memcmp(marker.data(), kHead, sizeof kHead) != 0) return 1;
  Tiff tiff{marker.subspan(sizeof kHead)};
  tiff.little = tiff.bytes[0] == 'I';
  const size_t directory = tiff.number(4, 4), entries = tiff.number(directory, 2);
  for (size_t i = 0; i < entries; ++i) {
    const size_t entry = directory + 2 + 12 * i;
    if (tiff.number(entry, 2) != kOrientation || tiff.number(entry + 2, 2) != kShort) continue;
    const uint32_t value = tiff.number(entry + 8, 2);
    return value >= 2 && value <= 8 ? static_cast<int>(value) : 1;
  }
  return 1;
}

}  // namespace shardit

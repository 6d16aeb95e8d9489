#include "checkpoints/crc32c.h"

#include <isa-l.h>

#include <algorithm>

namespace shardit {

uint32_t crc32c(const void* data, int64_t bytes, uint32_t crc) {
  constexpr int64_t kMost = 1 << 30;  // isa-l counts bytes in an int
  unsigned char* at = static_cast<unsigned char*>(const_cast<void*>(data));
  uint32_t state = ~crc;  // isa-l takes and gives the bare register; the standard inverts it on both sides
  while (bytes > 0) {
    const int64_t now = std::min(bytes, kMost);
    state = crc32_iscsi(at, static_cast<int>(now), state);
    at += now;
    bytes -= now;
  }
  return ~state;
}

}  // namespace shardit

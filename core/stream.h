// The queues of a device that run side by side: kernels, collectives, copies to and from the host.
#pragma once

#include <cstdint>

namespace shardit {

enum class Stream : uint8_t { kCompute, kWire, kCopy };
inline constexpr int kStreams = 3;

constexpr const char* name_of(Stream stream) {
  constexpr const char* kNames[kStreams] = {"compute", "wire", "copy"};
  return kNames[static_cast<int>(stream)];
}

}  // namespace shardit

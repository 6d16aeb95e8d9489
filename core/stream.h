// The queues of a device that run side by side: kernels, collectives, copies to and from the host.
#pragma once

#include <cstdint>

namespace shardit {

enum class Stream : uint8_t { kCompute, kWire, kCopy };
inline constexpr int kStreams = 3;

}  // namespace shardit

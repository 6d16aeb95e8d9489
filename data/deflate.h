// What is known of any deflate stream before it is unpacked.
#pragma once

#include <cstdint>

namespace shardit {

inline constexpr int64_t kDeflateRatio = 1032;  // none unpacks to more times its own size

}  // namespace shardit

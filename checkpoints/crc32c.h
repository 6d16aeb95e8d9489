// CRC32C (Castagnoli, the CRC of iSCSI and ext4): finds accidental damage of files.
#pragma once

#include <cstdint>

namespace shardit {

// The CRC32C of some bytes; `crc` is that of the bytes before them. crc32c("123456789") is e3069283.
uint32_t crc32c(const void* data, int64_t bytes, uint32_t crc = 0);

}  // namespace shardit

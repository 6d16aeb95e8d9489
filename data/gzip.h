// Whole gzip files in memory, checked to the last byte.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace shardit {

bool is_gzip(const std::vector<uint8_t>& bytes);

// The contents of a gzip file of one member. `path` is for messages. Throws IoError if the stream is damaged, cut
// short, or followed by anything.
std::vector<uint8_t> gunzip(const std::vector<uint8_t>& compressed, const std::string& path);

}  // namespace shardit

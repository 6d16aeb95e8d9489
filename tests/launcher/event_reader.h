// Reads TensorBoard's event files back, by the published format alone: nothing here is the writer's.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "launcher/tensorboard.pb.h"

namespace shardit {

// CRC32C bit by bit, then rotated and shifted.
inline uint32_t record_checksum(const std::string& bytes) {
  uint32_t crc = ~0u;
  for (char c : bytes) {
    crc ^= static_cast<uint8_t>(c);
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
  }
  crc = ~crc;
  return (crc >> 15 | crc << 17) + 0xa282ead8u;
}

// The messages of one file; fails the test where a record is not whole or a checksum is wrong.
inline std::vector<tensorboard::Event> read_events(const std::string& path) {
  std::ostringstream all;
  all << std::ifstream(path, std::ios::binary).rdbuf();
  const std::string bytes = all.str();
  size_t at = 0;
  const auto take = [&](size_t n) {
    const std::string part = at + n <= bytes.size() ? bytes.substr(at, n) : "";
    EXPECT_EQ(part.size(), n) << path << " ends within a record, at byte " << at;
    at += n;
    return part;
  };
  const auto take_checksum = [&] {
    uint32_t value = 0;
    const std::string part = take(sizeof value);
    if (part.size() == sizeof value) std::memcpy(&value, part.data(), sizeof value);
    return value;
  };
  std::vector<tensorboard::Event> events;
  while (at < bytes.size() && !testing::Test::HasFailure()) {
    const std::string length = take(sizeof(uint64_t));
    EXPECT_EQ(take_checksum(), record_checksum(length)) << path << ", of the length before byte " << at;
    uint64_t size = 0;
    std::memcpy(&size, length.data(), length.size());
    const std::string message = take(size);
    EXPECT_EQ(take_checksum(), record_checksum(message)) << path << ", of the message before byte " << at;
    EXPECT_TRUE(events.emplace_back().ParseFromString(message));
  }
  return events;
}

// The event files of a run, oldest first.
inline std::vector<std::string> event_files(const std::string& run_dir) {
  std::vector<std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(run_dir + "/tensorboard"))
    files.push_back(entry.path().string());
  std::sort(files.begin(), files.end());
  return files;
}

}  // namespace shardit

// Manifests as a forger makes them: checksums that hold over a message that need not. Without this nearly every input
// ends at the checksum.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>

#include "checkpoints/crc32c.h"
#include "checkpoints/digest.h"
#include "checkpoints/manifest.pb.h"

namespace shardit {

// The message in the frame of manifest.h: magic, length, message, CRC.
inline std::string framed(const std::string& message) {
  const auto number = [](uint64_t value, int bytes) {
    std::string text;
    for (int i = 0; i < bytes; ++i) text.push_back(static_cast<char>(value >> (8 * i)));
    return text;
  };
  const std::string bytes = "SHARDIT\x01" + number(message.size(), 8) + message;
  return bytes + number(crc32c(bytes.data(), static_cast<int64_t>(bytes.size())), 4);
}

// The message with the root digest that its tensors' digests give, and with its first file described as `file`.
// A message that protobuf does not parse stays as it is.
inline std::string forged(const std::string& message, std::span<const uint8_t> file) {
  pb::Manifest manifest;
  if (!manifest.ParseFromString(message)) return message;
  std::map<std::string, Digest> digests;
  for (const pb::Tensor& tensor : manifest.tensors()) {
    Digest& digest = digests[tensor.name()];
    if (tensor.digest().size() == digest.bytes.size())
      std::copy(tensor.digest().begin(), tensor.digest().end(), digest.bytes.begin());
  }
  const Digest root = root_digest(digests);
  manifest.set_root_digest(root.bytes.data(), root.bytes.size());
  if (manifest.files_size() > 0) {
    manifest.mutable_files(0)->set_bytes(file.size());
    manifest.mutable_files(0)->set_crc32c(crc32c(file.data(), static_cast<int64_t>(file.size())));
  }
  return manifest.SerializeAsString();
}

}  // namespace shardit

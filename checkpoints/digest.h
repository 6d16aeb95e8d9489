// Digests of logical tensors, the same for every sharding.
//
// A tensor is cut into chunks of kChunk elements. Each chunk's little-endian bytes (real elements only, never padding)
// are hashed with XXH3-128, seeded by the chunk's index; the hashes are added modulo 2^128. So every rank sums what it
// holds, in any order, and the ranks' sums are added. The tensor's digest binds that sum to its name, dtype and shape;
// the root digest covers the sorted (name, digest) of all tensors.
// It finds damage and wrong bits; it is no defence against someone who forges a checkpoint.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>

#include "core/dtype.h"
#include "core/shape.h"

namespace shardit {

// A sum of chunk hashes, modulo 2^128.
struct ChunkSum {
  uint64_t low = 0, high = 0;

  ChunkSum& operator+=(const ChunkSum& other);
  bool operator==(const ChunkSum&) const = default;
};

struct Digest {
  std::array<uint8_t, 16> bytes{};

  std::string hex() const;  // 32 lower-case digits
  bool operator==(const Digest&) const = default;
};

// The sum over the chunks that hold elements [first, first + count) of a tensor; `data` points at element `first`.
// REQUIRES: first is a multiple of kChunk, and so is first + count, unless it is the tensor's end.
ChunkSum hash_chunks(const void* data, DType dtype, int64_t first, int64_t count);

Digest tensor_digest(const std::string& name, DType dtype, const Shape& shape, const ChunkSum& sum);
Digest root_digest(const std::map<std::string, Digest>& tensors);  // by name

}  // namespace shardit

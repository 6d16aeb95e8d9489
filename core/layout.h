// Where every parameter lives: named tensors packed into units.
//
// A unit (one transformer block, the embeddings, …) is one flat buffer made of chunks of kChunk elements. Every tensor
// starts on a chunk; the rest of its last chunk is padding, which is zero and belongs to no digest. The same layout
// serves the master weights, gradients, optimizer moments and EMA profiles, at every stage and rank count: a shard is
// whole chunks, so kernels have no tails, and sums over a chunk never cross a shard's border.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/shape.h"

namespace shardit {

inline constexpr int64_t kChunk = 1024;  // elements

// The distribution of initial weights; all draws are keyed by (seed, tensor name, element).
struct Init {
  enum Kind { kZero, kNormal, kTruncatedNormal, kXavierUniform } kind = kZero;
  double std = 0;                   // kNormal, kTruncatedNormal (cut at +-2, absolute)
  int64_t fan_in = 0, fan_out = 0;  // kXavierUniform: U(-a, a), a = sqrt(6 / (fan_in + fan_out))
};

struct Param {
  std::string name;  // the released model's name, e.g. "blocks.7.attn.qkv.weight"
  Shape shape;
  Init init;
  int64_t first_chunk = 0;  // within the unit

  int64_t numel() const { return shape.numel(); }
  int64_t chunks() const { return (numel() + kChunk - 1) / kChunk; }
  int64_t offset() const { return first_chunk * kChunk; }  // elements from the unit's start
};

struct Unit {
  std::string name;  // "blocks.7"
  std::vector<Param> params;
  int64_t chunks = 0;

  int64_t elements() const { return chunks * kChunk; }
  int64_t shard_elements(int shards) const { return chunks / shards * kChunk; }  // REQUIRES: shards divides chunks
  void add(std::string param_name, Shape shape, Init init);
};

struct Layout {
  std::vector<Unit> units;

  int64_t parameters() const;                        // elements of all tensors, without padding
  int64_t elements() const;                          // of all units, padding included
  const Param* find(const std::string& name) const;  // null if there is none

  // The same with zero chunks at the end of each unit, so that `shards` divides its chunks.
  Layout padded(int shards) const;
};

// The part of a tensor that lies in one shard of its unit: shard s of S is the s-th of S equal parts of the unit.
struct ParamPart {
  const Param* param = nullptr;
  int64_t first = 0, count = 0;  // elements of the tensor
  int64_t offset = 0;            // of element `first`, in elements from the shard's start
};
// Of all tensors that have elements there, in order. REQUIRES: shards divides the unit's chunks.
std::vector<ParamPart> parts_in_shard(const Unit& unit, int shard, int shards);

}  // namespace shardit

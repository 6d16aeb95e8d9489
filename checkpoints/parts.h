// What a rank holds of a state, as named tensors: used by who writes and by who reads.
//
// A tensor of the state is KIND/NAME: "params/…" (the fp32 master weights), "adam.m/…", "adam.v/…", "ema.PROFILE/…",
// with the parameter's name in the layout. All kinds are sharded alike (core/layout.h).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/dtype.h"
#include "core/layout.h"
#include "core/shape.h"

namespace shardit {

// A whole tensor.
struct StateTensor {
  std::string name;
  DType dtype = DType::kF32;
  Shape shape;
  void* data = nullptr;  // numel contiguous elements
};

// The part of a tensor that one rank holds: elements [first, first + count), cut on chunks. A count of 0 says that the
// tensor is part of the state, and that its elements are elsewhere.
struct TensorPart {
  std::string name;
  DType dtype = DType::kF32;
  Shape shape;  // of the whole tensor
  int64_t first = 0, count = 0;
  void* data = nullptr;  // element `first`

  bool is_whole() const { return first == 0 && count == shape.numel(); }
};

// Every tensor as one part.
std::vector<TensorPart> whole_parts(std::span<const StateTensor> tensors);

// Every tensor KIND/NAME of a unit, as shard `shard` of `shards` holds it; `memory` is the shard's, which begins with
// its first chunk. REQUIRES: the unit is padded for that many shards (Layout::padded).
std::vector<TensorPart> shard_parts(const std::string& kind, const Unit& unit, int shard, int shards, float* memory);

// The name in a rank's file: NAME, or NAME@FIRST for a part that is not the whole.
std::string stored_name(const std::string& name, const Shape& shape, int64_t first, int64_t count);

}  // namespace shardit

// Which image a global sample number uses. Sample n belongs to epoch n / size and visits position n % size of that
// epoch's permutation, so every epoch visits each index exactly once. The permutation is keyed by (seed, epoch) and
// evaluated at one point in constant memory: no shuffled list exists, and any restart point costs the same.
#pragma once

#include <cstdint>

#include "core/random.h"

namespace shardit {

class SampleOrder {
 public:
  SampleOrder(uint64_t seed, int64_t size);  // size: images in the dataset, at least 1

  int64_t index(int64_t sample) const;  // in [0, size). REQUIRES: sample >= 0
  bool flipped(int64_t sample) const;   // a fair coin keyed by (seed, sample): mirror the image left to right

  // The index that stands in for a corrupt image of `sample`, drawn from all; `attempt` counts those that were corrupt
  // too. REQUIRES: a dataset of less than 2^32 images.
  int64_t replacement(int64_t sample, uint32_t attempt) const;

 private:
  uint64_t permute(uint64_t position, uint64_t epoch) const;

  Philox order_, flip_, replacement_;
  uint64_t size_;
  int low_bits_ = 0, high_bits_ = 0;  // together the fewest bits that can name every index
};

}  // namespace shardit

#include "data/order.h"

#include <bit>

#include <glog/logging.h>

namespace shardit {
namespace {

constexpr uint32_t kRounds = 10;  // tests/data/order_test.cc: all 24 orders of four images are equally likely

uint64_t mask(int bits) { return (uint64_t{1} << bits) - 1; }

}  // namespace

SampleOrder::SampleOrder(uint64_t seed, int64_t size)
    : order_(seed, Purpose::kSampleOrder),
      flip_(seed, Purpose::kFlip),
      replacement_(seed, Purpose::kReplacement),
      size_(static_cast<uint64_t>(size)) {
  CHECK_GE(size, 1);
  const int bits = std::bit_width(size_ - 1);
  low_bits_ = bits / 2;
  high_bits_ = bits - low_bits_;
}

// An unbalanced Feistel network: each round changes one half by a keyed function of the other, which can be undone, so
// the whole is a permutation of all numbers of low_bits_ + high_bits_ bits.
uint64_t SampleOrder::permute(uint64_t position, uint64_t epoch) const {
  uint64_t low = position & mask(low_bits_), high = position >> low_bits_;
  for (uint32_t round = 0; round < kRounds; round += 2) {
    high ^= order_(epoch, static_cast<uint32_t>(low), round).word[0] & mask(high_bits_);
    low ^= order_(epoch, static_cast<uint32_t>(high), round + 1).word[0] & mask(low_bits_);
  }
  return high << low_bits_ | low;
}

// Cycle walking: a permutation of a larger set, applied until it falls inside, permutes the smaller set. The larger
// one has fewer than twice as many members, so two steps are expected at most.
int64_t SampleOrder::index(int64_t sample) const {
  CHECK_GE(sample, 0);
  const uint64_t n = static_cast<uint64_t>(sample), epoch = n / size_;
  uint64_t at = n % size_;
  do at = permute(at, epoch);
  while (at >= size_);
  return static_cast<int64_t>(at);
}

bool SampleOrder::flipped(int64_t sample) const { return bits_at(flip_, static_cast<uint64_t>(sample), 0) & 1u; }

int64_t SampleOrder::replacement(int64_t sample, uint32_t attempt) const {
  CHECK_LT(size_, uint64_t{1} << 32);
  return integer_at(replacement_, static_cast<uint64_t>(sample), attempt, static_cast<uint32_t>(size_));
}

}  // namespace shardit

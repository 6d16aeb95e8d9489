#include "data/order.h"

#include <gtest/gtest.h>

#include <map>
#include <vector>

namespace shardit {
namespace {

std::vector<int64_t> epoch_of(const SampleOrder& order, int64_t size, int64_t epoch) {
  std::vector<int64_t> indices(size);
  for (int64_t i = 0; i < size; ++i) indices[i] = order.index(epoch * size + i);
  return indices;
}

TEST(SampleOrder, EveryEpochVisitsEveryIndexOnce) {
  for (int64_t size : {1, 2, 3, 7, 8, 9, 1000, 1025, 60000})
    for (int64_t epoch : {0, 1, 2, 1000000}) {
      std::vector<int> visits(size);
      for (int64_t index : epoch_of(SampleOrder(17, size), size, epoch)) ++visits.at(index);
      EXPECT_EQ(visits, std::vector<int>(size, 1)) << size << " images, epoch " << epoch;
    }
}

TEST(SampleOrder, EpochsAndSeedsDiffer) {
  const SampleOrder order(17, 1000), other(18, 1000);
  EXPECT_NE(epoch_of(order, 1000, 0), epoch_of(order, 1000, 1));
  EXPECT_NE(epoch_of(order, 1000, 0), epoch_of(other, 1000, 0));
  EXPECT_EQ(epoch_of(order, 1000, 5), epoch_of(SampleOrder(17, 1000), 1000, 5));
}

// A permutation keeps one element in place on average, with variance one, whatever its size.
TEST(SampleOrder, LooksShuffled) {
  const int64_t size = 1000, epochs = 400;
  const SampleOrder order(17, size);
  int64_t fixed = 0, ascents = 0;
  for (int64_t epoch = 0; epoch < epochs; ++epoch) {
    const std::vector<int64_t> indices = epoch_of(order, size, epoch);
    for (int64_t i = 0; i < size; ++i) fixed += indices[i] == i;
    for (int64_t i = 1; i < size; ++i) ascents += indices[i - 1] < indices[i];
  }
  EXPECT_NEAR(static_cast<double>(fixed), epochs, 5 * 20);                      // five standard deviations
  EXPECT_NEAR(static_cast<double>(ascents), 0.5 * 999 * epochs, 5 * 9.2 * 20);  // variance (size + 1) / 12 an epoch
}

TEST(SampleOrder, AllOrdersOfFourImagesAreEquallyLikely) {
  std::map<std::vector<int64_t>, int> seen;
  const SampleOrder order(17, 4);
  for (int64_t epoch = 0; epoch < 24000; ++epoch) ++seen[epoch_of(order, 4, epoch)];
  ASSERT_EQ(seen.size(), 24u);
  double chi_squared = 0;
  for (const auto& [indices, count] : seen) chi_squared += (count - 1000.0) * (count - 1000.0) / 1000.0;
  EXPECT_LT(chi_squared, 49.7);  // 23 degrees of freedom: exceeded once in a thousand fair trials
}

TEST(SampleOrder, HugeSampleNumbersWork) {
  const SampleOrder order(17, 1281167);
  const int64_t index = order.index(int64_t{1} << 62);
  EXPECT_GE(index, 0);
  EXPECT_LT(index, 1281167);
}

TEST(SampleOrder, HalfOfTheSamplesAreFlippedAndEpochsFlipAnew) {
  const SampleOrder order(17, 100);
  int flips = 0, changes = 0;
  for (int64_t n = 0; n < 10000; ++n) {
    flips += order.flipped(n);
    changes += order.flipped(n) != order.flipped(n + 100);
  }
  EXPECT_NEAR(flips, 5000, 250);  // five standard deviations
  EXPECT_NEAR(changes, 5000, 250);
}

}  // namespace
}  // namespace shardit

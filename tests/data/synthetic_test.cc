#include "data/synthetic.h"

#include <gtest/gtest.h>

#include "core/error.h"
#include "data/nearest.h"

namespace shardit {
namespace {

TEST(Synthetic, AnImageDependsOnOptionsAndIndexOnly) {
  const SyntheticDataset few({.size = 10, .seed = 3}), many({.size = 1000, .seed = 3}), other({.size = 10, .seed = 4});
  EXPECT_EQ(read_first(few, 10).pixels, read_first(many, 10).pixels);
  EXPECT_NE(read_first(few, 10).pixels, read_first(other, 10).pixels);
  EXPECT_NE(few.fingerprint(), other.fingerprint());
}

TEST(Synthetic, AnyExtentsWork) {
  for (int64_t side : {1, 2, 17})
    for (int64_t channels : {1, 3, 4}) {
      const SyntheticDataset dataset({.size = 25, .height = side, .width = side + 1, .channels = channels});
      EXPECT_EQ(static_cast<int64_t>(read_first(dataset, 25).pixels.size()), 25 * side * (side + 1) * channels);
    }
  EXPECT_THROW(SyntheticDataset({.size = 0}), UserError);
}

TEST(Synthetic, ImageIHasClassIModuloClasses) {
  const SyntheticDataset dataset({.size = 7, .classes = 3});
  EXPECT_EQ(read_first(dataset, 7).labels, (std::vector<int64_t>{0, 1, 2, 0, 1, 2, 0}));
}

TEST(Synthetic, NeighboursTellTheClasses) {
  const SyntheticDataset training({.size = 2000, .channels = 1, .seed = 1}),
      fresh({.size = 100, .channels = 1, .seed = 2});
  Pool pool(2);
  const NearestJudgement judgement = NearestNeighbours(training).judge(read_first(fresh, 100), pool);
  EXPECT_GE(judgement.agreement, 0.9);             // a classifier without any training
  EXPECT_GT(judgement.mean_nearest_distance, 50);  // and yet no image repeats
}

}  // namespace
}  // namespace shardit

#include "data/nearest.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>

#include "core/error.h"
#include "data/idx.h"
#include "data/synthetic.h"

namespace shardit {
namespace {

// A dataset of given bytes: image i is pixels[i], one after another.
class GivenDataset : public Dataset {
 public:
  GivenDataset(int64_t bytes, std::vector<uint8_t> pixels, std::vector<int64_t> labels)
      : Dataset({.name = "given",
                 .size = static_cast<int64_t>(labels.size()),
                 .classes = 10,
                 .height = 1,
                 .width = bytes,
                 .channels = 1,
                 .fingerprint = {},
                 .class_names = {}}),
        pixels_(std::move(pixels)),
        labels_(std::move(labels)) {}
  void read(int64_t index, uint8_t* pixels, int64_t* label) const override {
    std::copy_n(pixels_.begin() + index * width(), width(), pixels);
    *label = labels_[index];
  }

 private:
  std::vector<uint8_t> pixels_;
  std::vector<int64_t> labels_;
};

// The same by definition: all distances in double, sorted, counted.
NearestMatch by_definition(const LabelledImages& training, const uint8_t* query, int k) {
  std::vector<std::pair<double, int64_t>> all;
  for (int64_t i = 0; i < training.count; ++i) {
    double sum = 0;
    for (int64_t p = 0; p < training.image_bytes; ++p)
      sum += std::pow(double{training.pixels[i * training.image_bytes + p] * 1.0} - query[p], 2);
    all.emplace_back(std::sqrt(sum), i);
  }
  std::sort(all.begin(), all.end());
  int64_t best = -1, most = 0;
  for (int a = 0; a < k; ++a) {  // from the nearest on: only more votes beat an earlier class
    const int64_t label = training.labels[all[a].second];
    const int64_t votes =
        std::count_if(all.begin(), all.begin() + k, [&](const auto& n) { return training.labels[n.second] == label; });
    if (votes > most) most = votes, best = label;
  }
  return {best, all[0].second, all[0].first};
}

TEST(NearestNeighbours, AgreeWithTheDefinitionInDouble) {
  for (int64_t side : {3, 28}) {
    const SyntheticDataset training(
        {.size = 301, .classes = 7, .height = side, .width = side + 1, .channels = 3, .seed = 1});
    const SyntheticDataset fresh(
        {.size = 37, .classes = 7, .height = side, .width = side + 1, .channels = 3, .seed = 2});
    const LabelledImages all = read_first(training, 301), queries = read_first(fresh, 37);
    Pool pool(2);
    for (int k : {1, 2, 5}) {
      const auto matches = NearestNeighbours(training, k).classify(queries.pixels.data(), 37, pool);
      for (int64_t q = 0; q < 37; ++q) {
        const NearestMatch expected = by_definition(all, queries.pixels.data() + q * queries.image_bytes, k);
        EXPECT_EQ(matches[q].label, expected.label) << q;
        EXPECT_EQ(matches[q].index, expected.index) << q;
        EXPECT_EQ(matches[q].distance, expected.distance) << q;  // both are the root of one exact integer
      }
    }
  }
}

TEST(NearestNeighbours, ATieGoesToTheClassOfTheNearest) {
  const GivenDataset training(1, {10, 12, 13, 14, 90}, {3, 4, 4, 3, 5});
  Pool pool(1);
  const uint8_t query = 9;
  const auto match = NearestNeighbours(training, 5).classify(&query, 1, pool)[0];
  EXPECT_EQ(match.label, 3);  // two votes each for 3 and 4
  EXPECT_EQ(match.index, 0);
  EXPECT_EQ(match.distance, 1.0);
}

TEST(NearestNeighbours, EqualDistancesCountInOrderOfIndex) {
  const GivenDataset training(1, {20, 10, 10, 20}, {1, 2, 3, 4});
  Pool pool(1);
  const uint8_t query = 15;
  const auto match = NearestNeighbours(training, 1).classify(&query, 1, pool)[0];
  EXPECT_EQ(match.index, 0);
  EXPECT_EQ(match.label, 1);
}

// 100,000 differences of 255: the sum of squares is beyond 32 bits.
TEST(NearestNeighbours, LargeImagesDoNotOverflow) {
  const int64_t bytes = 100000;
  const GivenDataset training(bytes, std::vector<uint8_t>(bytes, 255), {1});
  Pool pool(1);
  const std::vector<uint8_t> black(bytes, 0), white(bytes, 255);
  const NearestNeighbours nearest(training, 1);
  EXPECT_EQ(nearest.classify(black.data(), 1, pool)[0].distance, std::sqrt(65025.0 * bytes));
  EXPECT_EQ(nearest.classify(white.data(), 1, pool)[0].distance, 0.0);
}

TEST(NearestNeighbours, ThreadsChangeNothing) {
  const SyntheticDataset training({.size = 300, .seed = 1}), fresh({.size = 100, .seed = 2});
  const LabelledImages queries = read_first(fresh, 100);
  const NearestNeighbours nearest(training);
  Pool one(1), five(5);
  const NearestJudgement a = nearest.judge(queries, one), b = nearest.judge(queries, five);
  EXPECT_EQ(a.agreement, b.agreement);
  EXPECT_EQ(a.mean_nearest_distance, b.mean_nearest_distance);
}

TEST(NearestNeighbours, MoreNeighboursThanImagesAreTheUsersMistake) {
  const SyntheticDataset training({.size = 4});
  EXPECT_THROW(NearestNeighbours(training, 5), UserError);
  EXPECT_THROW(NearestNeighbours(training, 0), UserError);
}

TEST(NearestNeighbours, KnowFashionMnist) {
  if (!std::filesystem::exists(kFashionMnistDirectory)) GTEST_SKIP() << "dataset-fashion-mnist is not installed";
  const auto training = open_idx(kFashionMnistDirectory, "train", 10),
             test = open_idx(kFashionMnistDirectory, "test", 10);
  Pool pool(2);
  const NearestJudgement judgement = NearestNeighbours(*training).judge(read_first(*test, 1000), pool);
  std::printf("5 nearest neighbours on 1,000 test images: agreement %.3f, mean nearest distance %.1f\n",
              judgement.agreement, judgement.mean_nearest_distance);
  EXPECT_DOUBLE_EQ(judgement.agreement, 0.856);  // both as numpy computes them by the definition, in double
  EXPECT_NEAR(judgement.mean_nearest_distance, 912.25237573737, 1e-9);
}

}  // namespace
}  // namespace shardit

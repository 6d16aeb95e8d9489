#include "data/nearest.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string>

#include <glog/logging.h>

#include "core/error.h"

namespace shardit {
namespace {

constexpr int64_t kQueryTile = 32;      // queries of one tile: 50 KB of 28 x 28 images beside a block below
constexpr int64_t kTrainingBlock = 64;  // training images that stay in the cache while a tile's queries pass over them
constexpr int kTogether = 4;            // queries that share one load of a training image
constexpr int64_t kExact = 16384;       // products of two bytes whose sum surely fits 31 bits

// Inner products of kTogether queries with one image: the loop where all the time goes (multiply-add of 16-bit pairs).
std::array<int64_t, kTogether> products(const int16_t* queries, const int16_t* image, int64_t n) {
  std::array<int64_t, kTogether> total{};
  const int16_t *q0 = queries, *q1 = q0 + n, *q2 = q1 + n, *q3 = q2 + n;
  for (int64_t begin = 0; begin < n; begin += kExact) {
    const int64_t end = std::min(n, begin + kExact);
    int32_t s0 = 0, s1 = 0, s2 = 0, s3 = 0;
    for (int64_t i = begin; i < end; ++i) {
      s0 += int32_t{q0[i]} * image[i];
      s1 += int32_t{q1[i]} * image[i];
      s2 += int32_t{q2[i]} * image[i];
      s3 += int32_t{q3[i]} * image[i];
    }
    total[0] += s0;
    total[1] += s1;
    total[2] += s2;
    total[3] += s3;
  }
  return total;
}

int64_t square(const int16_t* image, int64_t n) {
  int64_t sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += int32_t{image[i]} * image[i];
  return sum;
}

}  // namespace

NearestNeighbours::NearestNeighbours(const Dataset& training, int k)
    : k_(k),
      count_(training.size()),
      bytes_(training.image_bytes()),
      classes_(training.classes()) {
  REQUIRE(k >= 1 && k <= count_, "asked for the " + std::to_string(k) + " nearest of " + std::to_string(count_) +
                                     " training images: expected 1 to " + std::to_string(count_));
  pixels_.resize(count_ * bytes_);
  labels_.resize(count_);
  squares_.resize(count_);
  std::vector<uint8_t> image(bytes_);
  for (int64_t i = 0; i < count_; ++i) {
    training.read(i, image.data(), &labels_[i]);
    std::copy(image.begin(), image.end(), pixels_.begin() + i * bytes_);
    squares_[i] = square(pixels_.data() + i * bytes_, bytes_);
  }
}

// The k nearest of each query, nearest first. `count` is a multiple of kTogether.
std::vector<std::vector<NearestNeighbours::Neighbour>> NearestNeighbours::search(const std::vector<int16_t>& queries,
                                                                                 int64_t count) const {
  std::vector<std::vector<Neighbour>> nearest(count);
  const auto offer = [&](int64_t query, int64_t squared, int64_t index) {
    std::vector<Neighbour>& list = nearest[query];
    if (static_cast<int64_t>(list.size()) == k_) {
      if (squared >= list.back().squared) return;  // indices come in rising order: the earlier one keeps its place
      list.pop_back();
    }
    const Neighbour one{squared, index};
    list.insert(std::upper_bound(list.begin(), list.end(), one), one);
  };
  for (int64_t block = 0; block < count_; block += kTrainingBlock)
    for (int64_t q = 0; q < count; q += kTogether)
      for (int64_t i = block; i < std::min(count_, block + kTrainingBlock); ++i) {
        const auto product = products(queries.data() + q * bytes_, pixels_.data() + i * bytes_, bytes_);
        for (int t = 0; t < kTogether; ++t)
          offer(q + t, squares_[i] - 2 * product[t], i);  // |query|^2 is added at the end
      }
  for (int64_t q = 0; q < count; ++q) {
    const int64_t own = square(queries.data() + q * bytes_, bytes_);
    for (Neighbour& neighbour : nearest[q]) neighbour.squared += own;
  }
  return nearest;
}

NearestMatch NearestNeighbours::vote(const std::vector<Neighbour>& nearest) const {
  std::vector<int64_t> votes(classes_, 0);
  for (const Neighbour& neighbour : nearest) ++votes[labels_[neighbour.index]];
  const int64_t most = *std::max_element(votes.begin(), votes.end());
  const auto winner = std::find_if(nearest.begin(), nearest.end(),
                                   [&](const Neighbour& neighbour) { return votes[labels_[neighbour.index]] == most; });
  return {labels_[winner->index], nearest[0].index, std::sqrt(static_cast<double>(nearest[0].squared))};
}

std::vector<NearestMatch> NearestNeighbours::classify(const uint8_t* images, int64_t count, Pool& pool) const {
  std::vector<NearestMatch> matches(count);
  pool.run(tile_count(count, kQueryTile), [&](int64_t i, int) {
    const auto [begin, end] = tile_at(count, kQueryTile, i);
    const int64_t padded = tile_count(end - begin, kTogether) * kTogether;  // the last few may be black images
    std::vector<int16_t> queries(padded * bytes_, 0);
    std::copy(images + begin * bytes_, images + end * bytes_, queries.begin());
    const auto nearest = search(queries, padded);
    for (int64_t q = begin; q < end; ++q) matches[q] = vote(nearest[q - begin]);
  });
  return matches;
}

NearestJudgement NearestNeighbours::judge(const uint8_t* images, const int64_t* labels, int64_t count,
                                          Pool& pool) const {
  REQUIRE(count >= 1, "no images to judge by their nearest neighbours");
  const std::vector<NearestMatch> matches = classify(images, count, pool);
  NearestJudgement sum;
  for (int64_t i = 0; i < count; ++i) {
    sum.agreement += matches[i].label == labels[i];
    sum.mean_nearest_distance += matches[i].distance;
  }
  return {sum.agreement / static_cast<double>(count), sum.mean_nearest_distance / static_cast<double>(count)};
}

NearestJudgement NearestNeighbours::judge(const LabelledImages& images, Pool& pool) const {
  CHECK_EQ(images.image_bytes, bytes_);
  return judge(images.pixels.data(), images.labels.data(), images.count, pool);
}

}  // namespace shardit

// What the training set says about an image: the class its k nearest neighbours vote for, and how far the nearest one
// is. It judges generated samples without a trained network: `agreement` is how often the vote is the class that was
// asked for, and a mean nearest distance far below that of real test images would mean copied training images.
//
// Distances are Euclidean over raw bytes, squared in exact integers; equal distances count in order of index. So the
// answer depends neither on threads nor on how the work is cut.
#pragma once

#include <compare>
#include <cstdint>
#include <vector>

#include "core/pool.h"
#include "data/dataset.h"

namespace shardit {

struct NearestMatch {
  int64_t label = 0;    // the vote; a tie goes to the tied class with the nearest neighbour
  int64_t index = 0;    // the nearest training image
  double distance = 0;  // to it, in grey levels: sqrt of the sum over all bytes of (a - b)^2
};

struct NearestJudgement {
  double agreement = 0;              // share of images whose vote is their label
  double mean_nearest_distance = 0;  // grey levels
};

class NearestNeighbours {
 public:
  // Reads all of `training` into memory, two bytes a pixel. Throws UserError unless 1 <= k <= training.size().
  explicit NearestNeighbours(const Dataset& training, int k = 5);

  // `images`: [count, height, width, channels], extents as the training set's.
  std::vector<NearestMatch> classify(const uint8_t* images, int64_t count, Pool& pool) const;

  NearestJudgement judge(const uint8_t* images, const int64_t* labels, int64_t count, Pool& pool) const;
  NearestJudgement judge(const LabelledImages& images, Pool& pool) const;  // e.g. read_first(test set, 1000)

 private:
  struct Neighbour {
    int64_t squared, index;
    auto operator<=>(const Neighbour&) const = default;
  };

  std::vector<std::vector<Neighbour>> search(const std::vector<int16_t>& queries, int64_t count) const;
  NearestMatch vote(const std::vector<Neighbour>& nearest) const;  // sorted, k of them

  int64_t k_, count_, bytes_, classes_;  // training images, bytes of one
  std::vector<int16_t> pixels_;          // [count_, bytes_]
  std::vector<int64_t> squares_;         // [count_], |image|^2
  std::vector<int64_t> labels_;
};

}  // namespace shardit

// What a sample of the stream shows: the image that the order names, mirrored by its coin.
//
// A corrupt image ends the run, or another image takes its place. That one is drawn by the sample's number: it depends
// on nothing else, no other sample moves, and so the stream stays one stream for any ranks, threads and restarts. Only
// what the bytes are is excused: a file that cannot be read is an error always, since another try might read it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "data/order.h"

namespace shardit {

void mirror(uint8_t* pixels, int64_t height, int64_t width, int64_t channels);  // left to right, where they lie

enum class OnCorrupt { kFail, kSkip };

// That a sample does not show what it should.
struct CorruptSample {
  int64_t sample = 0;
  std::string what;  // which image, and what is wrong with it
};

// Any number of threads may read at once. Errors name the sample and the image.
class SampleReader {
 public:
  // REQUIRES: `dataset` outlives the reader.
  SampleReader(const Dataset& dataset, uint64_t seed, bool flip = false, OnCorrupt on_corrupt = OnCorrupt::kFail)
      : dataset_(dataset),
        order_(seed, dataset.size()),
        flip_(flip),
        on_corrupt_(on_corrupt) {}

  // Global sample number `sample`. What was skipped for it is added to `corrupt`.
  void read(int64_t sample, uint8_t* pixels, int64_t* label, std::vector<CorruptSample>& corrupt) const;

  // Image `index` as it is: a stream in the order of the dataset, whose sample numbers are the indices.
  void read_in_order(int64_t index, uint8_t* pixels, int64_t* label, std::vector<CorruptSample>& corrupt) const {
    read_image(index, index, pixels, label, corrupt);
  }

 private:
  void read_image(int64_t index, int64_t sample, uint8_t* pixels, int64_t* label,
                  std::vector<CorruptSample>& corrupt) const;
  void read_or_name(int64_t index, int64_t sample, uint8_t* pixels, int64_t* label) const;

  const Dataset& dataset_;
  const SampleOrder order_;
  const bool flip_;
  const OnCorrupt on_corrupt_;
};

}  // namespace shardit

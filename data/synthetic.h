// Images made from their index: a shape and a colour that say the class, at a position and size of the image's own.
// A model can learn them, and tests and benchmarks need no files. Every byte is a function of the options and the
// index.
#pragma once

#include <cstdint>
#include <vector>

#include "core/random.h"
#include "data/dataset.h"

namespace shardit {

struct SyntheticOptions {
  int64_t size = 1024;   // images
  int64_t classes = 10;  // image i has class i % classes; beyond ten, classes share shapes and differ in colour
  int64_t height = 32, width = 32, channels = 3;
  uint64_t seed = 0;  // of positions and sizes: another seed gives other images of the same classes
};

class SyntheticDataset : public Dataset {
 public:
  explicit SyntheticDataset(const SyntheticOptions& options);  // throws UserError on an option below 1
  void read(int64_t index, uint8_t* pixels, int64_t* label) const override;

 private:
  Philox philox_;
  std::vector<float> inks_;  // [classes, channels], grey levels
};

}  // namespace shardit

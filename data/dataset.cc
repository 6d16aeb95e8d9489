#include "data/dataset.h"

#include <algorithm>

namespace shardit {

LabelledImages read_first(const Dataset& dataset, int64_t count) {
  LabelledImages images;
  images.count = std::min(count, dataset.size());
  images.image_bytes = dataset.image_bytes();
  images.pixels.resize(images.count * images.image_bytes);
  images.labels.resize(images.count);
  for (int64_t i = 0; i < images.count; ++i)
    dataset.read(i, images.pixels.data() + i * images.image_bytes, &images.labels[i]);
  return images;
}

}  // namespace shardit

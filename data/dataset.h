// What the loader reads: a fixed list of labelled images of one size, named by index.
//
// A dataset knows nothing of order, epochs or ranks: `order.h` says which index a global sample number uses.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace shardit {

struct DatasetInfo {
  std::string name;     // how messages call it, e.g. "fashion-mnist/train"
  int64_t size = 0;     // images, at least 1
  int64_t classes = 0;  // labels are 0 … classes-1
  int64_t height = 0, width = 0, channels = 0;
  std::string fingerprint;               // equal exactly if the images and labels are equal: must not change on resume
  std::vector<std::string> class_names;  // empty: classes are called by their number
};

class Dataset {
 public:
  explicit Dataset(DatasetInfo info) : info_(std::move(info)) {}
  virtual ~Dataset() = default;
  Dataset(const Dataset&) = delete;
  Dataset& operator=(const Dataset&) = delete;

  // Writes image `index` as height x width x channels bytes, and its label. Any number of threads may read at once.
  // Throws IoError for an image that cannot be read, of the kind CorruptImage (data/corrupt_image.h) where its bytes
  // are no picture. REQUIRES: 0 <= index < size().
  virtual void read(int64_t index, uint8_t* pixels, int64_t* label) const = 0;

  const std::string& name() const { return info_.name; }
  int64_t size() const { return info_.size; }
  int64_t classes() const { return info_.classes; }
  int64_t height() const { return info_.height; }
  int64_t width() const { return info_.width; }
  int64_t channels() const { return info_.channels; }
  int64_t image_bytes() const { return info_.height * info_.width * info_.channels; }
  const std::string& fingerprint() const { return info_.fingerprint; }
  const std::vector<std::string>& class_names() const { return info_.class_names; }  // empty: called by number

 private:
  DatasetInfo info_;
};

// All pixels and labels of the first `count` images, for small datasets that are judged as a whole.
struct LabelledImages {
  int64_t count = 0, image_bytes = 0;
  std::vector<uint8_t> pixels;  // [count, height, width, channels]
  std::vector<int64_t> labels;  // [count]
};
LabelledImages read_first(const Dataset& dataset, int64_t count);  // fewer if the dataset is smaller

}  // namespace shardit

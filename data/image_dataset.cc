#include "data/image_dataset.h"

#include <algorithm>
#include <cstdio>
#include <utility>

#include <glog/logging.h>

#include "core/random.h"
#include "data/decode.h"
#include "data/resize.h"

namespace shardit {
namespace {

// A hash of many texts in order.
class Digest {
 public:
  void add(const std::string& text) { hash_ = hash_name(hex() + " " + std::to_string(text.size()) + " " + text); }
  std::string hex() const {
    char text[20];
    std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(hash_));
    return text;
  }

 private:
  uint64_t hash_ = 0;
};

// What must not change on resume, as far as names and sizes tell; nobody reads all pixels for that. The folder that
// names a class counts with the classes only, so that the message says whether it is the classes or the images that
// changed.
std::string fingerprint_of(const ImageFiles& files, const Labels& labels) {
  Digest images;
  for (int64_t i = 0; i < files.size(); ++i) {
    const std::string& name = files[i].name;
    images.add(name.substr(name.rfind('/') + 1) + " " + std::to_string(files[i].bytes) + " " +
               std::to_string(labels.of_image[i]));
  }
  return std::to_string(files.size()) + " images " + images.hex() + fingerprint_of(labels.names);
}

}  // namespace

std::string fingerprint_of(const ClassNames& classes) {
  Digest names;
  for (const std::string& name : classes.names) names.add(name);
  return " of " + std::to_string(classes.classes) + " classes " + names.hex();
}

std::unique_ptr<ImageDataset> ImageDataset::open(const ImageDatasetOptions& o) {
  ImageFiles files(o.path, o.split);
  Labels labels = label_images(files, o.class_from, o.class_list, o.classes, o.known);
  DatasetInfo info{.name = files.name(),
                   .size = files.size(),
                   .classes = labels.names.classes,
                   .height = o.side,
                   .width = o.side,
                   .channels = 3,
                   .fingerprint = fingerprint_of(files, labels),
                   .class_names = labels.names.names};
  return std::unique_ptr<ImageDataset>(new ImageDataset(std::move(info), std::move(files), std::move(labels)));
}

void ImageDataset::read(int64_t index, uint8_t* pixels, int64_t* label) const {
  try {
    const Image image = centre_crop(decode_image(files_.read(index)), height());
    std::copy(image.pixels.begin(), image.pixels.end(), pixels);
  } catch (const CorruptImage& error) {
    throw CorruptImage("'" + printable(files_[index].name) + "' is corrupt: " + error.what());
  }
  *label = labels_.of_image[index];
}

}  // namespace shardit

// JPEG and PNG images, decoded and cropped to one size when they are asked for.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "data/image.h"
#include "data/image_files.h"
#include "data/labels.h"

namespace shardit {

struct ImageDatasetOptions {
  std::string path;         // a folder, or an uncompressed tar
  std::string split = ".";  // the folder in it that is taken; ".": all
  int64_t side = 256;       // of the square images, after ADM's centre crop (data/resize.h)
  int64_t classes = 0;      // that the model knows; 0: those that occur
  ClassFrom class_from = ClassFrom::kFolder;
  std::string class_list;           // for ClassFrom::kList
  std::optional<ClassNames> known;  // of the training split, for another one
};

// How a fingerprint of images ends: what it says of their classes.
std::string fingerprint_of(const ClassNames& classes);

class ImageDataset : public Dataset {
 public:
  // What it throws: data/image_files.h and data/labels.h.
  static std::unique_ptr<ImageDataset> open(const ImageDatasetOptions& options);

  // Throws CorruptImage with the image's name if its bytes are no picture, IoError if they cannot be read.
  void read(int64_t index, uint8_t* pixels, int64_t* label) const override;

  const ImageFiles& files() const { return files_; }

 private:
  ImageDataset(DatasetInfo info, ImageFiles files, Labels labels)
      : Dataset(std::move(info)),
        files_(std::move(files)),
        labels_(std::move(labels)) {}

  ImageFiles files_;
  Labels labels_;
};

}  // namespace shardit

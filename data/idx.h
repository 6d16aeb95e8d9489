// The IDX format of MNIST and its descendants: grey images as bytes in one file, labels in another, big-endian
// headers, each plain or gzipped (http://yann.lecun.com/exdb/mnist describes it). Everything is unpacked into memory
// when opened: 47 MB for Fashion-MNIST's 60,000 training images.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "data/dataset.h"

namespace shardit {

inline constexpr char kFashionMnistDirectory[] = "/usr/share/datasets/fashion-mnist";  // Debian: dataset-fashion-mnist

// Opens DIRECTORY/{train,t10k}-{images-idx3,labels-idx1}-ubyte[.gz]; `split` is "train" or "test" (the t10k files).
// `classes` is how many the model knows; 0 takes the largest label plus one.
//
// Throws UserError if a file is missing, the split is unknown, or a label is not below `classes`; IoError if a file is
// damaged, cut short, followed by junk, or images and labels differ in number.
std::unique_ptr<Dataset> open_idx(const std::string& directory, const std::string& split, int64_t classes);

// The splits that lie in DIRECTORY, of "train" and "test": those with a file of images.
std::vector<std::string> idx_splits(const std::string& directory);

// The same for two files of any name.
std::unique_ptr<Dataset> open_idx_files(const std::string& images, const std::string& labels, const std::string& name,
                                        int64_t classes);

}  // namespace shardit

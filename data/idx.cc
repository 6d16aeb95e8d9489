#include "data/idx.h"

#include <zlib.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <utility>
#include <vector>

#include <glog/logging.h>

#include "core/error.h"
#include "core/shape.h"
#include "data/file.h"
#include "data/gzip.h"

namespace shardit {
namespace {

struct IdxFile {
  Shape shape;
  std::vector<uint8_t> bytes;  // header included
  size_t header_bytes = 0;

  const uint8_t* data() const { return bytes.data() + header_bytes; }
  size_t data_bytes() const { return bytes.size() - header_bytes; }
  uint32_t crc() const { return static_cast<uint32_t>(crc32_z(0, data(), data_bytes())); }
};

uint32_t big_endian(const uint8_t* p) {
  return static_cast<uint32_t>(p[0]) << 24 | static_cast<uint32_t>(p[1]) << 16 | static_cast<uint32_t>(p[2]) << 8 |
         p[3];
}

std::string hex(uint32_t value) {
  char text[16];
  std::snprintf(text, sizeof text, "%08x", value);
  return text;
}

// Whether the extents' product is `bytes`, without computing a product that may overflow.
bool holds_exactly(const Shape& shape, uint64_t bytes) {
  if (bytes == 0) return std::find(shape.begin(), shape.end(), 0) != shape.end();
  for (int64_t extent : shape) {
    if (extent == 0 || bytes % extent != 0) return false;
    bytes /= extent;
  }
  return bytes == 1;
}

// An IDX file of bytes (type code 8) with `rank` extents: 00 00 08 rank, extents, data.
IdxFile read_idx(const std::string& path, int rank) {
  REQUIRE(std::filesystem::exists(path), "no data file '" + path + "'");
  IdxFile file;
  file.bytes = read_file(path);
  if (is_gzip(file.bytes)) file.bytes = gunzip(file.bytes, path);
  file.header_bytes = 4 + 4 * static_cast<size_t>(rank);
  const size_t bytes = file.bytes.size();
  const uint32_t magic = bytes < 4 ? 0 : big_endian(file.bytes.data()),
                 expected = 0x0800u + static_cast<uint32_t>(rank);
  if (magic != expected)
    throw IoError("'" + path + "' begins with " + hex(magic) + ": expected " + hex(expected) +
                  ", an IDX file of bytes with " + std::to_string(rank) + " extents");
  if (bytes < file.header_bytes)
    throw IoError("'" + path + "' is cut short: " + std::to_string(bytes) + " bytes, its header alone has " +
                  std::to_string(file.header_bytes));
  for (int axis = 0; axis < rank; ++axis) file.shape.push_back(big_endian(file.bytes.data() + 4 + 4 * axis));
  if (!holds_exactly(file.shape, file.data_bytes()))
    throw IoError("'" + path + "' says it holds " + file.shape.str() + " bytes, but " +
                  std::to_string(file.data_bytes()) + " bytes follow its header\nfix: copy or download the file again");
  return file;
}

// Fashion-MNIST is known by its contents, wherever it lies.
std::vector<std::string> class_names_of(uint32_t images_crc) {
  constexpr uint32_t kTrain = 0xae65dccd, kTest = 0x12728439;
  if (images_crc != kTrain && images_crc != kTest) return {};
  return {"T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"};
}

class IdxDataset : public Dataset {
 public:
  IdxDataset(DatasetInfo info, IdxFile images, IdxFile labels)
      : Dataset(std::move(info)),
        images_(std::move(images)),
        labels_(std::move(labels)) {}

  void read(int64_t index, uint8_t* pixels, int64_t* label) const override {
    CHECK(index >= 0 && index < size()) << name() << ": image " << index << " of " << size();
    std::memcpy(pixels, images_.data() + index * image_bytes(), image_bytes());
    *label = labels_.data()[index];
  }

 private:
  IdxFile images_, labels_;
};

std::string stem_of(const std::string& directory, const std::string& split) {
  return directory + (split == "train" ? "/train-" : "/t10k-");
}

// The first of `stem`.gz and `stem` that exists; empty if neither does.
std::string find_file_if_any(const std::string& stem) {
  for (const std::string& path : {stem + ".gz", stem})
    if (std::filesystem::exists(path)) return path;
  return "";
}
std::string find_file(const std::string& stem) {
  if (const std::string path = find_file_if_any(stem); !path.empty()) return path;
  throw UserError("no data file '" + stem +
                  ".gz', nor the same without .gz\nfix: apt-get install dataset-fashion-mnist (" +
                  kFashionMnistDirectory + "), or give the folder that holds the IDX files");
}

void check_labels(const IdxFile& labels, const std::string& path, int64_t classes) {
  for (size_t i = 0; i < labels.data_bytes(); ++i)
    REQUIRE(labels.data()[i] < classes, "label " + std::to_string(labels.data()[i]) + " of image " + std::to_string(i) +
                                            " in '" + path + "': the model knows classes 0 to " +
                                            std::to_string(classes - 1) + "\nfix: raise the model's number of classes");
}

}  // namespace

std::unique_ptr<Dataset> open_idx_files(const std::string& images_path, const std::string& labels_path,
                                        const std::string& name, int64_t classes) {
  IdxFile images = read_idx(images_path, 3), labels = read_idx(labels_path, 1);
  if (images.shape[0] != labels.shape[0])
    throw IoError("'" + images_path + "' holds " + std::to_string(images.shape[0]) + " images, but '" + labels_path +
                  "' holds " + std::to_string(labels.shape[0]) + " labels: expected one label per image");
  if (images.data_bytes() == 0)
    throw IoError("'" + images_path + "' holds no images: its extents are " + images.shape.str());
  if (classes == 0) classes = 1 + *std::max_element(labels.data(), labels.data() + labels.data_bytes());
  check_labels(labels, labels_path, classes);

  DatasetInfo info{.name = name,
                   .size = images.shape[0],
                   .classes = classes,
                   .height = images.shape[1],
                   .width = images.shape[2],
                   .channels = 1,
                   .fingerprint = {},
                   .class_names = class_names_of(images.crc())};
  info.fingerprint = "idx " + images.shape.str() + " images " + hex(images.crc()) + " labels " + hex(labels.crc());
  return std::make_unique<IdxDataset>(std::move(info), std::move(images), std::move(labels));
}

std::unique_ptr<Dataset> open_idx(const std::string& directory, const std::string& split, int64_t classes) {
  REQUIRE(split == "train" || split == "test", "unknown split '" + split + "': expected train or test");
  const std::string stem = stem_of(directory, split);
  const std::string folder = std::filesystem::path(directory + "/.").lexically_normal().parent_path().filename();
  const std::string images = find_file(stem + "images-idx3-ubyte"), labels = find_file(stem + "labels-idx1-ubyte");
  return open_idx_files(images, labels, folder + "/" + split, classes);
}

std::vector<std::string> idx_splits(const std::string& directory) {
  std::vector<std::string> splits;
  for (const char* split : {"train", "test"})
    if (!find_file_if_any(stem_of(directory, split) + "images-idx3-ubyte").empty()) splits.emplace_back(split);
  return splits;
}

}  // namespace shardit

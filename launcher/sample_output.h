// What `shardit sample` writes, as images are drawn: image i of all has the class labels[i].
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "data/npz.h"
#include "launcher/sampling.h"

namespace shardit {

// A PNG with a row per class: the first ten of `classes`, and of each at most the first ten images, which alone are
// kept.
class ClassGrid {
 public:
  ClassGrid(const std::vector<int64_t>& classes, std::vector<int64_t> labels);

  void take(const SampledImages& images);
  // names: of the classes, in their order. Throws IoError.
  void write(const std::string& path, const std::vector<std::string>& names) const;

 private:
  struct Row {
    int64_t label = 0;
    std::vector<uint8_t> pixels;  // images, one behind the other
  };

  const std::vector<int64_t> labels_;
  const size_t columns_;
  std::vector<Row> rows_;
  int64_t height_ = 0, width_ = 0, channels_ = 0;
};

// An npz with arr_0, uint8 [count, height, width, channels], and arr_1, int64 [count]: written as images come, and
// under its name once it is whole. Throws IoError, at once where the disk has no room for all.
class SampleFile {
 public:
  SampleFile(const std::string& path, const DiffitConfig& model, std::vector<int64_t> labels);

  void take(const SampledImages& images);
  void close();  // REQUIRES: all were taken

 private:
  const std::vector<int64_t> labels_;
  const NpzArray images_, classes_;
  std::optional<NpzWriter> npz_;  // once there is room
};

}  // namespace shardit

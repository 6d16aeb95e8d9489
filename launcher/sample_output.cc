#include "launcher/sample_output.h"

#include <algorithm>
#include <utility>

#include "data/grid.h"
#include "data/png.h"
#include "launcher/output_file.h"

namespace shardit {

ClassGrid::ClassGrid(const std::vector<int64_t>& classes, std::vector<int64_t> labels)
    : labels_(std::move(labels)),
      columns_(std::min<size_t>(10, (labels_.size() + classes.size() - 1) / classes.size())) {
  for (size_t i = 0; i < std::min<size_t>(classes.size(), 10); ++i) rows_.push_back({classes[i], {}});
}

void ClassGrid::take(const SampledImages& images) {
  height_ = images.height, width_ = images.width, channels_ = images.channels;
  const int64_t bytes = height_ * width_ * channels_;
  for (int64_t i = 0; i < images.count; ++i)
    for (Row& row : rows_) {
      const bool full = row.pixels.size() == columns_ * static_cast<size_t>(bytes);
      if (full || labels_[static_cast<size_t>(images.first + i)] != row.label) continue;
      const auto image = images.pixels.begin() + i * bytes;
      row.pixels.insert(row.pixels.end(), image, image + bytes);
    }
}

void ClassGrid::write(const std::string& path, const std::vector<std::string>& names) const {
  std::vector<uint8_t> pixels;
  const size_t bytes = columns_ * static_cast<size_t>(height_ * width_ * channels_);
  for (size_t r = 0; r < rows_.size(); ++r) {
    pixels.insert(pixels.end(), rows_[r].pixels.begin(), rows_[r].pixels.end());
    pixels.resize((r + 1) * bytes, 255);  // white where there are fewer
  }
  const GridOptions options{.columns = static_cast<int64_t>(columns_),
                            .row_labels = {names.begin(), names.begin() + std::ssize(rows_)}};
  write_png(path, make_grid(pixels.data(), static_cast<int64_t>(rows_.size() * columns_), height_, width_, channels_,
                            options));
}

SampleFile::SampleFile(const std::string& path, const DiffitConfig& model, std::vector<int64_t> labels)
    : labels_(std::move(labels)),
      images_{"arr_0", DType::kU8, {std::ssize(labels_), model.input_size, model.input_size, model.in_channels}},
      classes_{"arr_1", DType::kI64, {std::ssize(labels_)}} {
  check_room(path, images_.bytes() + classes_.bytes());
  npz_.emplace(path);
  npz_->begin(images_);
}

void SampleFile::take(const SampledImages& images) { npz_->write(images.pixels.data(), images.pixels.size()); }

void SampleFile::close() {
  npz_->begin(classes_);
  npz_->write(labels_.data(), labels_.size() * sizeof(int64_t));
  npz_->close();
}

}  // namespace shardit

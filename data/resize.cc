#include "data/resize.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include <glog/logging.h>

namespace shardit {
namespace {

constexpr int kFractionBits = 22;
constexpr int32_t kHalf = 1 << (kFractionBits - 1);

double support_of(Filter filter) { return filter == Filter::kBox ? 0.5 : 2.0; }

double value_of(Filter filter, double x) {
  if (filter == Filter::kBox) return x > -0.5 && x <= 0.5 ? 1.0 : 0.0;
  constexpr double a = -0.5;
  x = std::fabs(x);
  if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0;
  if (x < 2.0) return (((x - 5.0) * x + 8.0) * x - 4.0) * a;
  return 0.0;
}

// The inputs of one output, along one axis.
struct Taps {
  int64_t first = 0;
  std::vector<int32_t> weights;
};

Taps taps_of(int64_t in, int64_t out, Filter filter, int64_t at) {
  const double scale = static_cast<double>(in) / static_cast<double>(out), width = std::max(scale, 1.0),
               reach = support_of(filter) * width, centre = (static_cast<double>(at) + 0.5) * scale;
  const auto first = std::max<int64_t>(0, static_cast<int64_t>(centre - reach + 0.5)),
             end = std::min(in, static_cast<int64_t>(centre + reach + 0.5));
  const double inverse = 1.0 / width;
  std::vector<double> values;
  double sum = 0.0;
  for (int64_t x = first; x < end; ++x) {
    values.push_back(value_of(filter, (static_cast<double>(x) - centre + 0.5) * inverse));
    sum += values.back();
  }
  Taps taps{first, {}};
  for (double value : values) {
    const double weight = (sum != 0.0 ? value / sum : value) * (1 << kFractionBits);
    taps.weights.push_back(static_cast<int32_t>(weight < 0 ? weight - 0.5 : weight + 0.5));
  }
  return taps;
}

std::vector<Taps> all_taps(int64_t in, int64_t out, Filter filter, int64_t begin, int64_t count) {
  std::vector<Taps> taps;
  for (int64_t at = begin; at < begin + count; ++at) taps.push_back(taps_of(in, out, filter, at));
  return taps;
}

uint8_t rounded(int32_t sum) { return static_cast<uint8_t>(std::clamp(sum >> kFractionBits, 0, 255)); }

// One row from the whole width to the window's columns.
template <int kChannels> void squeeze_row(const uint8_t* in, const std::vector<Taps>& columns, uint8_t* out) {
  for (const Taps& taps : columns) {
    int32_t sums[kChannels];
    std::fill_n(sums, kChannels, kHalf);
    const uint8_t* pixel = in + taps.first * kChannels;
    for (int32_t weight : taps.weights)
      for (int c = 0; c < kChannels; ++c) sums[c] += weight * *pixel++;
    for (int32_t sum : sums) *out++ = rounded(sum);
  }
}

Image squeeze_columns(const Image& image, int64_t first_row, int64_t rows, const std::vector<Taps>& columns) {
  Image out(rows, std::ssize(columns), image.channels, 0);
  const int64_t in_stride = image.width * image.channels, out_stride = out.width * out.channels;
  for (int64_t y = 0; y < rows; ++y) {
    const uint8_t* from = image.pixels.data() + (first_row + y) * in_stride;
    uint8_t* to = out.pixels.data() + y * out_stride;
    image.channels == 3 ? squeeze_row<3>(from, columns, to) : squeeze_row<1>(from, columns, to);
  }
  return out;
}

// `image` begins at row `first_row` of the picture that the taps speak of.
Image squeeze_rows(const Image& image, int64_t first_row, const std::vector<Taps>& rows) {
  Image out(std::ssize(rows), image.width, image.channels, 0);
  const int64_t stride = image.width * image.channels;
  std::vector<int32_t> sums(stride);
  for (int64_t y = 0; y < out.height; ++y) {
    std::fill(sums.begin(), sums.end(), kHalf);
    const uint8_t* in = image.pixels.data() + (rows[y].first - first_row) * stride;
    for (int32_t weight : rows[y].weights) {
      for (int64_t i = 0; i < stride; ++i) sums[i] += weight * in[i];
      in += stride;
    }
    std::transform(sums.begin(), sums.end(), out.pixels.begin() + y * stride, rounded);
  }
  return out;
}

}  // namespace

Image resize(const Image& image, int64_t height, int64_t width, Filter filter, const CropWindow& window) {
  CHECK(window.y >= 0 && window.x >= 0 && window.y + window.height <= height && window.x + window.width <= width);
  CHECK(window.height > 0 && window.width > 0 && (image.channels == 3 || image.channels == 1));
  const std::vector<Taps> columns = all_taps(image.width, width, filter, window.x, window.width),
                          rows = all_taps(image.height, height, filter, window.y, window.height);
  const int64_t fewer_rows = image.height - height, fewer_columns = image.width - width;
  if (fewer_rows > 0 && fewer_rows > 2 * fewer_columns)
    return squeeze_columns(squeeze_rows(image, 0, rows), 0, window.height, columns);
  const int64_t first_row = rows.front().first, end_row = rows.back().first + std::ssize(rows.back().weights);
  return squeeze_rows(squeeze_columns(image, first_row, end_row - first_row, columns), first_row, rows);
}

Image centre_crop(const Image& image, int64_t side) {
  if (image.height == side && image.width == side) return image;
  if (std::min(image.height, image.width) >= 2 * side) {
    const int64_t height = image.height / 2, width = image.width / 2;
    return centre_crop(resize(image, height, width, Filter::kBox, {0, 0, height, width}), side);
  }
  const double scale = static_cast<double>(side) / static_cast<double>(std::min(image.height, image.width));
  const auto scaled = [&](int64_t extent) {  // halves to even, as Python rounds
    return static_cast<int64_t>(std::nearbyint(static_cast<double>(extent) * scale));
  };
  const int64_t height = scaled(image.height), width = scaled(image.width);
  return resize(image, height, width, Filter::kBicubic, {(height - side) / 2, (width - side) / 2, side, side});
}

}  // namespace shardit

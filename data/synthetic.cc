#include "data/synthetic.h"

#include <algorithm>
#include <cmath>
#include <string>

#include <glog/logging.h>

#include "core/error.h"

namespace shardit {
namespace {

constexpr int kShapes = 10;

// How far the point (u, v) is outside the shape, in units of its radius; negative inside.
float distance_to_shape(int64_t shape, float u, float v) {
  const float x = std::fabs(u), y = std::fabs(v), box = std::max(x, y), r = std::sqrt(u * u + v * v);
  const float p = std::fabs(u + v) * 0.70710678f, q = std::fabs(u - v) * 0.70710678f;  // axes turned by 45 degrees
  switch (shape) {
    case 0:
      return r - 1.0f;  // disc
    case 1:
      return std::fabs(r - 0.78f) - 0.22f;  // ring
    case 2:
      return box - 0.85f;  // square
    case 3:
      return std::fabs(box - 0.72f) - 0.16f;  // frame
    case 4:
      return std::min(std::max(x - 1.0f, y - 0.28f), std::max(y - 1.0f, x - 0.28f));  // plus
    case 5:
      return std::min(std::max(p - 1.1f, q - 0.24f), std::max(q - 1.1f, p - 0.24f));  // cross
    case 6:
      return std::max(p, q) - 0.75f;  // diamond
    case 7:
      return std::max(x - 1.0f, std::fabs(y - 0.6f) - 0.25f);  // two horizontal bars
    case 8:
      return std::max(y - 1.0f, std::fabs(x - 0.6f) - 0.25f);  // two vertical bars
    default:
      return std::max(0.894427f * x - 0.447214f * v - 0.447214f, v - 0.8f);  // triangle
  }
}

DatasetInfo describe(const SyntheticOptions& o) {
  for (int64_t option : {o.size, o.classes, o.height, o.width, o.channels})
    REQUIRE(option >= 1, "synthetic data was given a size, number of classes or extent of " + std::to_string(option) +
                             ": expected at least 1");
  DatasetInfo info{.name = "synthetic",
                   .size = o.size,
                   .classes = o.classes,
                   .height = o.height,
                   .width = o.width,
                   .channels = o.channels,
                   .fingerprint = {},
                   .class_names = {}};
  info.fingerprint = "synthetic 1 size " + std::to_string(o.size) + " classes " + std::to_string(o.classes) +
                     " image " + std::to_string(o.height) + "x" + std::to_string(o.width) + "x" +
                     std::to_string(o.channels) + " seed " + std::to_string(o.seed);
  return info;
}

}  // namespace

SyntheticDataset::SyntheticDataset(const SyntheticOptions& options)
    : Dataset(describe(options)),
      philox_(options.seed, Purpose::kSynthetic) {
  const Philox colours(~uint64_t{0}, Purpose::kSynthetic);  // the same for every seed
  for (int64_t c = 0; c < options.classes * options.channels; ++c)
    inks_.push_back(96.0f + 159.0f * uniform_at(colours, c / options.channels, c % options.channels));
}

void SyntheticDataset::read(int64_t index, uint8_t* pixels, int64_t* label) const {
  CHECK(index >= 0 && index < size()) << name() << ": image " << index << " of " << size();
  const int64_t shape_class = index % classes();
  const auto own = [&](uint64_t i) { return uniform_at(philox_, index, i); };
  const float side = static_cast<float>(std::min(height(), width()));
  const float radius = side * (0.24f + 0.12f * own(0));
  const float centre_x = static_cast<float>(width()) * (0.4f + 0.2f * own(1));
  const float centre_y = static_cast<float>(height()) * (0.4f + 0.2f * own(2));
  const float ground = 40.0f * own(3);
  for (int64_t y = 0; y < height(); ++y)
    for (int64_t x = 0; x < width(); ++x) {
      const float u = (static_cast<float>(x) + 0.5f - centre_x) / radius,
                  v = (static_cast<float>(y) + 0.5f - centre_y) / radius;
      const float cover = std::clamp(0.5f - radius * distance_to_shape(shape_class % kShapes, u, v), 0.0f, 1.0f);
      for (int64_t c = 0; c < channels(); ++c) {
        const float ink = inks_[shape_class * channels() + c];
        *pixels++ = static_cast<uint8_t>(ground + cover * (ink - ground));
      }
    }
  *label = shape_class;
}

}  // namespace shardit

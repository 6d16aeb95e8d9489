#include "data/grid.h"

#include <algorithm>
#include <cstring>

#include "core/error.h"
#include "data/font.h"

namespace shardit {
namespace {

constexpr uint8_t kPaper = 255, kInk = 48;
constexpr int64_t kComfortable = 64;  // pixels: images are enlarged until both sides reach this

struct Geometry {
  int64_t scale, cell_height, cell_width, gap, margin, text_scale, label_width, rows;
  int64_t top(int64_t row) const { return margin + row * (cell_height + gap); }
  int64_t left(int64_t column) const { return margin + label_width + column * (cell_width + gap); }
};

int64_t fitting_scale(int64_t height, int64_t width) {
  const int64_t side = std::min(height, width);
  return std::max<int64_t>(1, (kComfortable + side - 1) / side);
}

Geometry lay_out(int64_t count, int64_t height, int64_t width, const GridOptions& options) {
  Geometry g{};
  g.scale = options.scale > 0 ? options.scale : fitting_scale(height, width);
  g.cell_height = height * g.scale;
  g.cell_width = width * g.scale;
  g.gap = std::clamp<int64_t>(std::min(g.cell_height, g.cell_width) / 16, 3, 8);
  g.margin = 3 * g.gap;
  g.text_scale = std::clamp<int64_t>(g.cell_height / 32, 1, 3);
  g.rows = (count + options.columns - 1) / options.columns;
  for (const std::string& label : options.row_labels)
    g.label_width = std::max(g.label_width, text_width(label, g.text_scale) + g.margin);
  return g;
}

void draw_enlarged(Image& picture, int64_t top, int64_t left, const uint8_t* image, int64_t height, int64_t width,
                   int64_t scale) {
  for (int64_t y = 0; y < height * scale; ++y)
    for (int64_t x = 0; x < width * scale; ++x)
      std::memcpy(picture.at(top + y, left + x), image + ((y / scale) * width + x / scale) * picture.channels,
                  picture.channels);
}

}  // namespace

Image make_grid(const uint8_t* images, int64_t count, int64_t height, int64_t width, int64_t channels,
                const GridOptions& options) {
  REQUIRE(channels == 1 || channels == 3, "a picture was asked for of images with " + std::to_string(channels) +
                                              " channels: expected 1 (grey) or 3 (RGB)");
  REQUIRE(count >= 1 && options.columns >= 1, "a picture grid needs at least one image and one column");
  const Geometry g = lay_out(count, height, width, options);
  REQUIRE(options.row_labels.empty() || static_cast<int64_t>(options.row_labels.size()) == g.rows,
          std::to_string(options.row_labels.size()) + " labels for a grid of " + std::to_string(g.rows) +
              " rows: expected one label per row, or none");

  const int64_t columns = std::min(count, options.columns);
  Image picture(g.top(g.rows) - g.gap + g.margin, g.left(columns) - g.gap + g.margin, channels, kPaper);
  for (int64_t i = 0; i < count; ++i)
    draw_enlarged(picture, g.top(i / columns), g.left(i % columns), images + i * height * width * channels, height,
                  width, g.scale);
  for (int64_t row = 0; row < static_cast<int64_t>(options.row_labels.size()); ++row) {
    const int64_t centred = g.top(row) + (g.cell_height - kFontAscent * g.text_scale) / 2;
    const int64_t right_aligned = g.left(0) - g.margin - text_width(options.row_labels[row], g.text_scale);
    draw_text(picture, centred, right_aligned, options.row_labels[row], g.text_scale, kInk);
  }
  return picture;
}

}  // namespace shardit

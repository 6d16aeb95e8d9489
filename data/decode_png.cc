#include <png.h>

#include <algorithm>
#include <csetjmp>
#include <cstdio>
#include <cstring>

#include "data/decoders.h"
#include "data/deflate.h"

namespace shardit {
namespace {

struct PngHandles {
  png_structp png = nullptr;
  png_infop info = nullptr;

  PngHandles() = default;
  ~PngHandles() { png_destroy_read_struct(&png, &info, nullptr); }
  PngHandles(const PngHandles&) = delete;
};

class PngReader {
 public:
  explicit PngReader(std::span<const uint8_t> bytes) : left_(bytes), size_(static_cast<int64_t>(bytes.size())) {
    png_ = png_create_read_struct(PNG_LIBPNG_VER_STRING, this, on_error, [](png_structp, png_const_charp) {});
    info_ = png_ ? png_create_info_struct(png_) : nullptr;
    if (!info_ || !open()) fail();
  }

  int64_t width() const { return png_get_image_width(png_, info_); }
  int64_t height() const { return png_get_image_height(png_, info_); }
  int bits() const { return png_get_bit_depth(png_, info_); }

  ImageHeader header() const {
    return {.format = ImageHeader::kPng,
            .colour = colour(),
            .width = width(),
            .height = height(),
            .bits = bits(),
            .progressive = png_get_interlace_type(png_, info_) != PNG_INTERLACE_NONE};
  }

  // What the rows need, unpacked, against what the file can hold.
  void refuse_bomb() {
    const int64_t stored = height() * static_cast<int64_t>(png_get_rowbytes(png_, info_));
    if (stored > kDeflateRatio * size_) throw bomb(header(), size_);
  }

  // RGB; 16-bit grey stays one channel of two bytes, the high one first.
  std::vector<uint8_t> pixels(int bytes_per_pixel) {
    const size_t row_bytes = static_cast<size_t>(width()) * bytes_per_pixel;
    std::vector<uint8_t> pixels(row_bytes * height());
    std::vector<png_bytep> rows(height());
    for (size_t y = 0; y < rows.size(); ++y) rows[y] = pixels.data() + y * row_bytes;
    if (!read_rows(rows.data(), bytes_per_pixel == 3, row_bytes)) fail();
    return pixels;
  }

 private:
  [[noreturn]] static void on_error(png_structp png, png_const_charp message) {
    auto* reader = static_cast<PngReader*>(png_get_error_ptr(png));
    std::snprintf(reader->message_, sizeof reader->message_, "%s", message);
    std::longjmp(png_jmpbuf(png), 1);
  }

  static void read(png_structp png, png_bytep to, size_t bytes) {
    auto* reader = static_cast<PngReader*>(png_get_io_ptr(png));
    if (bytes > reader->left_.size()) png_error(png, "the file is cut short");
    std::memcpy(to, reader->left_.data(), bytes);
    reader->left_ = reader->left_.subspan(bytes);
  }

  // Nothing with a destructor may live in a frame that longjmp leaves: these two hold plain values only.
  bool open() {
    if (setjmp(png_jmpbuf(png_))) return false;
    png_set_read_fn(png_, this, read);
    png_set_user_limits(png_, PNG_UINT_31_MAX, PNG_UINT_31_MAX);  // check_extents knows better
    png_read_info(png_, info_);
    return true;
  }

  bool read_rows(png_bytepp rows, bool as_rgb, size_t row_bytes) {
    if (setjmp(png_jmpbuf(png_))) return false;
    if (as_rgb) {
      png_set_expand(png_);
      png_set_strip_16(png_);
      png_set_strip_alpha(png_);
      png_set_gray_to_rgb(png_);
    }
    png_set_interlace_handling(png_);
    png_read_update_info(png_, info_);
    if (png_get_rowbytes(png_, info_) != row_bytes) png_error(png_, "its rows have another size than its header says");
    png_read_image(png_, rows);
    return true;
  }

  ImageHeader::Colour colour() const {
    switch (png_get_color_type(png_, info_)) {
      case PNG_COLOR_TYPE_GRAY:
        return ImageHeader::kGrey;
      case PNG_COLOR_TYPE_GRAY_ALPHA:
        return ImageHeader::kGreyAlpha;
      case PNG_COLOR_TYPE_PALETTE:
        return ImageHeader::kPalette;
      case PNG_COLOR_TYPE_RGB_ALPHA:
        return ImageHeader::kRgba;
      default:
        return ImageHeader::kRgb;
    }
  }

  [[noreturn]] void fail() const { throw CorruptImage(std::string("as a PNG: ") + message_); }

  std::span<const uint8_t> left_;
  int64_t size_;
  PngHandles handles_;
  png_structp& png_ = handles_.png;
  png_infop& info_ = handles_.info;
  char message_[128] = "out of memory";
};

// A quirk that models were trained with: Pillow does not scale 16-bit grey but cuts it, so 0 to 255 stay.
std::vector<uint8_t> cut_at_255(const std::vector<uint8_t>& big_endian) {
  std::vector<uint8_t> rgb;
  rgb.reserve(big_endian.size() / 2 * 3);
  for (size_t i = 0; i < big_endian.size(); i += 2)
    rgb.insert(rgb.end(), 3, big_endian[i] == 0 ? big_endian[i + 1] : uint8_t{255});
  return rgb;
}

}  // namespace

ImageHeader read_png_header(std::span<const uint8_t> bytes) { return checked(PngReader(bytes).header()); }

Image decode_png(std::span<const uint8_t> bytes) {
  PngReader reader(bytes);
  const ImageHeader header = checked(reader.header());
  reader.refuse_bomb();
  const bool deep_grey = header.colour == ImageHeader::kGrey && header.bits == 16;
  Image image;
  image.height = header.height, image.width = header.width, image.channels = 3;
  image.pixels = deep_grey ? cut_at_255(reader.pixels(2)) : reader.pixels(3);
  return image;
}

}  // namespace shardit

// JPEG by libjpeg-turbo's own interface: unlike TurboJPEG's it says which warning it was, and so whether pixels are
// lost (a file cut short) or not (bytes too many between two markers, which real photographs have).
#include <cstdio>  // jpeglib.h relies on it

#include <jpeglib.h>

#include <jerror.h>

#include <csetjmp>

#include "data/decoders.h"
#include "data/exif.h"

namespace shardit {
namespace {

// A progressive file is decoded once per scan, and a scan costs it a few bytes. Encoders write about ten.
constexpr int kMaxScans = 500;

bool loses_pixels(int warning) {
  return warning == JWRN_JPEG_EOF || warning == JWRN_HIT_MARKER || warning == JWRN_HUFF_BAD_CODE ||
         warning == JWRN_ARITH_BAD_CODE || warning == JWRN_MUST_RESYNC;
}

// A block of 8 x 8 takes a bit at least, and stands for 32 x 32 pixels where its channel is stored at a quarter of the
// width and height, which is as few as there can be. Arithmetic coding could do with less, and nobody's does.
constexpr int64_t kMostPixelsPerByte = 8 * 32 * 32;

// libjpeg reports by callbacks that must not return; no exception passes through its frames.
struct Errors {
  jpeg_error_mgr base;  // first: libjpeg knows this address
  jmp_buf out;
  char message[JMSG_LENGTH_MAX];
};

[[noreturn]] void give_up(j_common_ptr jpeg) {
  auto* errors = reinterpret_cast<Errors*>(jpeg->err);
  errors->base.format_message(jpeg, errors->message);
  std::longjmp(errors->out, 1);
}

void on_message(j_common_ptr jpeg, int level) {
  if (level < 0 && loses_pixels(jpeg->err->msg_code)) give_up(jpeg);
}

void on_progress(j_common_ptr jpeg) {
  auto* errors = reinterpret_cast<Errors*>(jpeg->err);
  if (reinterpret_cast<j_decompress_ptr>(jpeg)->input_scan_number <= kMaxScans) return;
  std::snprintf(errors->message, sizeof errors->message, "it has more than %d scans", kMaxScans);
  std::longjmp(errors->out, 1);
}

struct Decompressor : jpeg_decompress_struct {
  Decompressor() : jpeg_decompress_struct{} {}
  ~Decompressor() { jpeg_destroy_decompress(this); }  // harmless before it was created
  Decompressor(const Decompressor&) = delete;
};

class JpegReader {
 public:
  explicit JpegReader(std::span<const uint8_t> bytes) {
    jpeg_.err = jpeg_std_error(&errors_.base);
    errors_.base.error_exit = give_up;
    errors_.base.emit_message = on_message;
    progress_.progress_monitor = on_progress;
    if (!open(bytes)) fail();
  }

  ImageHeader header() const {
    return {.format = ImageHeader::kJpeg,
            .colour = jpeg_.num_components == 1   ? ImageHeader::kGrey
                      : jpeg_.num_components == 4 ? ImageHeader::kCmyk
                                                  : ImageHeader::kRgb,
            .width = jpeg_.image_width,
            .height = jpeg_.image_height,
            .bits = jpeg_.data_precision,
            .progressive = jpeg_.progressive_mode != 0,
            .orientation = orientation()};
  }

  // Rows of RGB, or of CMYK as stored.
  std::vector<uint8_t> pixels(int channels) {
    std::vector<uint8_t> pixels(size_t{jpeg_.image_width} * jpeg_.image_height * static_cast<size_t>(channels));
    if (!read_rows(pixels.data(), channels)) fail();
    return pixels;
  }

 private:
  // Nothing with a destructor may live in a frame that longjmp leaves: these two hold plain values only.
  bool open(std::span<const uint8_t> bytes) {
    if (setjmp(errors_.out)) return false;
    jpeg_create_decompress(&jpeg_);
    jpeg_.progress = &progress_;
    jpeg_mem_src(&jpeg_, bytes.data(), bytes.size());
    jpeg_save_markers(&jpeg_, JPEG_APP0 + 1, 0xffff);
    jpeg_read_header(&jpeg_, TRUE);
    return true;
  }

  bool read_rows(uint8_t* row, int channels) {
    if (setjmp(errors_.out)) return false;
    jpeg_.out_color_space = channels == 4 ? JCS_CMYK : JCS_RGB;
    jpeg_.dct_method = JDCT_ISLOW;
    jpeg_start_decompress(&jpeg_);
    while (jpeg_.output_scanline < jpeg_.output_height) {
      JSAMPROW next = row + static_cast<size_t>(jpeg_.output_scanline) * jpeg_.output_width * channels;
      jpeg_read_scanlines(&jpeg_, &next, 1);
    }
    jpeg_finish_decompress(&jpeg_);
    return true;
  }

  [[noreturn]] void fail() const { throw CorruptImage(std::string("as a JPEG: ") + errors_.message); }

  int orientation() const {
    for (auto marker = jpeg_.marker_list; marker; marker = marker->next)
      if (const int found = exif_orientation({marker->data, marker->data_length}); found != 1) return found;
    return 1;
  }

  Decompressor jpeg_;
  Errors errors_ = {};
  jpeg_progress_mgr progress_ = {};
};

// a * b / 255, rounded: exact for bytes.
int part_of_255(int a, int b) {
  const int product = a * b + 128;
  return (product + (product >> 8)) >> 8;
}

// Adobe writes CMYK inverted: a byte is what is left of the light. Pillow takes that for granted, and so do all
// photographs we know of.
void multiply_out(const std::vector<uint8_t>& inverted_cmyk, std::vector<uint8_t>& rgb) {
  for (size_t i = 0; i < rgb.size() / 3; ++i) {
    const uint8_t* cmyk = inverted_cmyk.data() + 4 * i;
    for (int c = 0; c < 3; ++c) rgb[3 * i + c] = static_cast<uint8_t>(cmyk[3] - part_of_255(255 - cmyk[c], cmyk[3]));
  }
}

}  // namespace

#define SHARDIT_TEXT(x) #x
#define SHARDIT_TEXT_OF(x) SHARDIT_TEXT(x)
std::string jpeg_library_version() { return SHARDIT_TEXT_OF(LIBJPEG_TURBO_VERSION); }

ImageHeader read_jpeg_header(std::span<const uint8_t> bytes) { return checked(JpegReader(bytes).header()); }

Image decode_jpeg(std::span<const uint8_t> bytes) {
  JpegReader reader(bytes);
  const ImageHeader header = checked(reader.header());
  const auto size = static_cast<int64_t>(bytes.size());
  if (header.width * header.height > kMostPixelsPerByte * size) throw bomb(header, size);
  Image image;
  image.height = header.height, image.width = header.width, image.channels = 3;
  if (header.colour != ImageHeader::kCmyk) {
    image.pixels = reader.pixels(3);
    return image;
  }
  image.pixels.resize(static_cast<size_t>(header.height * header.width * 3));
  multiply_out(reader.pixels(4), image.pixels);
  return image;
}

}  // namespace shardit

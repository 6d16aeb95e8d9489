#include "data/png.h"

#include <png.h>

#include <vector>

#include <glog/logging.h>

#include "core/error.h"
#include "data/file.h"

namespace shardit {
namespace {

// In memory first: libpng's own file writer removes whatever stands at the path when it fails.
std::vector<uint8_t> encode(png_image& png, const std::string& path, const Image& image) {
  constexpr int k8Bit = 0, kPackedRows = 0;
  std::vector<uint8_t> bytes(PNG_IMAGE_PNG_SIZE_MAX(png));
  png_alloc_size_t used = bytes.size();
  if (!png_image_write_to_memory(&png, bytes.data(), &used, k8Bit, image.pixels.data(), kPackedRows, nullptr))
    throw IoError("cannot encode the picture '" + path + "' (" + std::to_string(image.width) + " x " +
                  std::to_string(image.height) + "): " + png.message);
  bytes.resize(used);
  return bytes;
}

}  // namespace

void write_png(const std::string& path, const Image& image) {
  CHECK(image.channels == 1 || image.channels == 3) << path << ": " << image.channels << " channels";
  CHECK_EQ(static_cast<int64_t>(image.pixels.size()), image.height * image.width * image.channels) << path;
  png_image png{};
  png.version = PNG_IMAGE_VERSION;
  png.width = static_cast<png_uint_32>(image.width);
  png.height = static_cast<png_uint_32>(image.height);
  png.format = image.channels == 1 ? PNG_FORMAT_GRAY : PNG_FORMAT_RGB;
  const std::vector<uint8_t> bytes = encode(png, path, image);
  File file(path, File::kWrite);
  file.write(bytes.data(), bytes.size());
  file.close();
}

}  // namespace shardit

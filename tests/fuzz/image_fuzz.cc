// A JPEG or PNG, decoded and cropped as a dataset does it.
#include "data/decode.h"
#include "data/resize.h"

using namespace shardit;

namespace {

// A picture that its bytes may well hold, but large: it would be decoded rightly, and slowly.
constexpr int64_t kLargePixels = 1 << 20, kMostPixelsPerByte = 8 * 1032;
bool takes_long(const ImageHeader& header, size_t size) {
  const int64_t pixels = header.width * header.height;
  return pixels > kLargePixels && pixels <= kMostPixelsPerByte * static_cast<int64_t>(size);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    if (takes_long(read_image_header({data, size}), size)) return 0;
    centre_crop(decode_image({data, size}), 16);
  } catch (const CorruptImage&) {}
  return 0;
}

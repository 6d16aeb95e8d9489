// Writes the centre crops of a folder or tar of images as numpy's arr_0, in order of names: what
// tests/data/compare_with_pillow.py compares.
//
//     build/crop_images images.tar 256 crops.npz
#include <cstdio>
#include <cstdlib>

#include "core/error.h"
#include "data/decode.h"
#include "data/image_files.h"
#include "data/npz.h"
#include "data/resize.h"

using namespace shardit;

int main(int argc, char** argv) try {
  REQUIRE(argc == 4, "usage: crop_images PATH SIDE OUT.npz");
  const ImageFiles files(argv[1], ".");
  const int64_t side = std::atoll(argv[2]);
  NpzWriter npz(argv[3]);
  npz.begin({"arr_0", DType::kU8, {files.size(), side, side, 3}});
  for (int64_t i = 0; i < files.size(); ++i) {
    const Image crop = centre_crop(decode_image(files.read(i)), side);
    npz.write(crop.pixels.data(), crop.pixels.size());
  }
  npz.close();
  return 0;
} catch (const Error& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return error.exit_code;
}

#include "data/resize.h"

#include <gtest/gtest.h>

namespace shardit {
namespace {

Image ramp(int64_t height, int64_t width, int64_t channels) {
  Image image(height, width, channels, 0);
  for (size_t i = 0; i < image.pixels.size(); ++i) image.pixels[i] = static_cast<uint8_t>(i * 37 % 251);
  return image;
}

TEST(Resize, AnEvenHalvingByBoxIsTheMeanOfFour) {
  const Image image = ramp(6, 8, 3), half = resize(image, 3, 4, Filter::kBox, {0, 0, 3, 4});
  for (int64_t y = 0; y < 3; ++y)
    for (int64_t x = 0; x < 4; ++x)
      for (int64_t c = 0; c < 3; ++c) {
        const auto at = [&](int64_t dy, int64_t dx) { return image.pixels[((2 * y + dy) * 8 + 2 * x + dx) * 3 + c]; };
        const int upper = (at(0, 0) + at(0, 1) + 1) / 2, lower = (at(1, 0) + at(1, 1) + 1) / 2;  // bytes in between
        EXPECT_EQ(half.pixels[(y * 4 + x) * 3 + c], (upper + lower + 1) / 2);
      }
}

TEST(Resize, ToTheSameSizeChangesNothing) {
  const Image image = ramp(5, 7, 1);
  for (Filter filter : {Filter::kBox, Filter::kBicubic})
    EXPECT_EQ(resize(image, 5, 7, filter, {0, 0, 5, 7}).pixels, image.pixels);
}

TEST(Resize, AFlatPictureStaysFlat) {
  for (int value : {0, 1, 127, 254, 255})
    for (int64_t side : {3, 10, 33}) {
      const Image flat(10, 10, 3, static_cast<uint8_t>(value));
      for (uint8_t pixel : resize(flat, side, side, Filter::kBicubic, {0, 0, side, side}).pixels)
        EXPECT_EQ(pixel, value);
    }
}

TEST(Resize, AWindowIsThatPartOfTheWhole) {
  const Image image = ramp(40, 30, 3);
  for (int64_t height : {17, 55})
    for (Filter filter : {Filter::kBox, Filter::kBicubic}) {
      const Image whole = resize(image, height, 21, filter, {0, 0, height, 21});
      const Image part = resize(image, height, 21, filter, {4, 3, 9, 11});
      for (int64_t y = 0; y < 9; ++y)
        EXPECT_TRUE(std::equal(part.pixels.begin() + y * 33, part.pixels.begin() + (y + 1) * 33,
                               whole.pixels.begin() + ((y + 4) * 21 + 3) * 3));
    }
}

TEST(CentreCrop, IsSquareForEveryShape) {
  for (int64_t height : {1, 2, 7, 31, 32, 33, 63, 64, 65, 200})
    for (int64_t width : {1, 5, 32, 64, 129, 500}) {
      const Image crop = centre_crop(ramp(height, width, 3), 32);
      EXPECT_EQ(crop.height, 32);
      EXPECT_EQ(crop.width, 32);
      EXPECT_EQ(crop.pixels.size(), 32u * 32 * 3);
    }
}

TEST(CentreCrop, TakesTheMiddleOfThePictureOfItsOwnHeight) {
  const Image image = ramp(16, 40, 3), crop = centre_crop(image, 16);
  for (int64_t y = 0; y < 16; ++y)
    EXPECT_TRUE(std::equal(crop.pixels.begin() + y * 48, crop.pixels.begin() + (y + 1) * 48,
                           image.pixels.begin() + (y * 40 + 12) * 3));
}

}  // namespace
}  // namespace shardit

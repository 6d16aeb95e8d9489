#include <gtest/gtest.h>
#include <png.h>

#include "core/error.h"
#include "data/font.h"
#include "data/grid.h"
#include "data/png.h"
#include "tests/data/files.h"

namespace shardit {
namespace {

using namespace testing_files;

Image decode(const std::string& path) {
  png_image png{};
  png.version = PNG_IMAGE_VERSION;
  EXPECT_NE(png_image_begin_read_from_file(&png, path.c_str()), 0) << png.message;
  Image image(png.height, png.width, PNG_IMAGE_PIXEL_CHANNELS(png.format), 0);
  EXPECT_NE(png_image_finish_read(&png, nullptr, image.pixels.data(), 0, nullptr), 0) << png.message;
  return image;
}

TEST(Png, LibpngReadsBackEveryPixel) {
  const Folder folder;
  for (int64_t channels : {1, 3}) {
    Image image(13, 29, channels, 0);
    image.pixels = counting(image.pixels.size());
    write_png(folder / "image.png", image);
    const Image back = decode(folder / "image.png");
    EXPECT_EQ(back.channels, channels);
    EXPECT_EQ(back.height, 13);
    EXPECT_EQ(back.width, 29);
    EXPECT_EQ(back.pixels, image.pixels);
  }
}

TEST(Png, AFileThatCannotBeWrittenIsNamed) {
  EXPECT_TRUE(says(message_of<IoError>([] { write_png("/nonexistent/x.png", Image(2, 2, 1, 0)); }),
                   {"/nonexistent/x.png", "No such file"}));
  const Folder folder;
  const SmallFiles limit(50);  // bytes: as if the disk were full
  EXPECT_TRUE(says(message_of<IoError>([&] { write_png(folder / "a.png", Image(64, 64, 3, 7)); }), {folder / "a.png"}));
}

TEST(Grid, EnlargesEveryPixelInItsCell) {
  const Bytes images = counting(6 * 4 * 3 * 3);  // six images of 4 x 3, RGB
  Image grid = make_grid(images.data(), 6, 4, 3, 3, {.columns = 3, .scale = 5, .row_labels = {}});
  const int64_t gap = 3, margin = 9;  // the smallest
  ASSERT_EQ(grid.height, 2 * margin + 2 * 20 + gap);
  ASSERT_EQ(grid.width, 2 * margin + 3 * 15 + 2 * gap);
  for (int64_t i = 0; i < 6; ++i)
    for (int64_t y = 0; y < 20; ++y)
      for (int64_t x = 0; x < 15; ++x)
        for (int64_t c = 0; c < 3; ++c)
          ASSERT_EQ(grid.at(margin + i / 3 * 23 + y, margin + i % 3 * 18 + x)[c],
                    images[((i * 4 + y / 5) * 3 + x / 5) * 3 + c]);
  EXPECT_EQ(*grid.at(margin - 1, margin), 255);
  EXPECT_EQ(*grid.at(margin + 20, margin), 255);
}

TEST(Grid, LabelsStandLeftOfTheImagesAndOnlyThere) {
  const Bytes white(2 * 784, 255);
  const Image plain = make_grid(white.data(), 2, 28, 28, 1, {.columns = 1, .scale = 0, .row_labels = {}});
  Image named = make_grid(white.data(), 2, 28, 28, 1, {.columns = 1, .scale = 0, .row_labels = {"Bag", ""}});
  EXPECT_EQ(named.height, plain.height);
  const int64_t label_width = named.width - plain.width;
  int64_t ink = 0;
  for (int64_t y = 0; y < named.height; ++y)
    for (int64_t x = 0; x < named.width; ++x)
      if (*named.at(y, x) != 255) {
        ++ink;
        EXPECT_LT(x, label_width);
        EXPECT_LT(y, named.height / 2);
      }
  EXPECT_EQ(ink, 4 * (20 + 14 + 18));  // the font pixels of B, a, g, each drawn as 2 x 2
}

TEST(Grid, WhatCannotBeDrawnIsTheUsersMistake) {
  const Bytes images(4 * 16);
  EXPECT_THROW(make_grid(images.data(), 1, 4, 4, 4, {}), UserError);
  EXPECT_THROW(make_grid(images.data(), 0, 4, 4, 1, {}), UserError);
  EXPECT_THROW(make_grid(images.data(), 4, 4, 4, 1, {.columns = 2, .scale = 1, .row_labels = {"one"}}), UserError);
}

TEST(Font, EveryCharacterOfLabelsIsDrawnAndAllDiffer) {
  const std::string characters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-/.,:=+%()_'?";
  std::vector<std::vector<uint8_t>> drawn;
  for (char character : characters) {
    Image image(kFontHeight, 6, 1, 0);
    draw_text(image, 0, 0, {character}, 1, 1);
    EXPECT_EQ(std::count(drawn.begin(), drawn.end(), image.pixels), 0) << character;
    drawn.push_back(image.pixels);
  }
  EXPECT_EQ(text_width("", 3), 0);
  EXPECT_EQ(text_width("A i", 2), 2 * (5 + 1 + 3 + 1 + 1));
}

TEST(Font, TextBeyondTheEdgeIsCutOff) {
  Image image(5, 5, 3, 9);
  draw_text(image, -3, -2, "WWW", 4, 0);
  draw_text(image, 100, 100, "W", 1, 0);
  EXPECT_EQ(image.pixels.size(), 75u);
}

}  // namespace
}  // namespace shardit

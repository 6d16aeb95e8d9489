// Pictures of every kind against what Pillow makes of them (tests/data/make_pictures.py), and damaged ones.
#include "data/decode.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

#include "data/npz.h"
#include "data/resize.h"
#include "tests/data/files.h"

namespace shardit {
namespace {

using namespace testing_files;

const std::string kPictures = std::string(SHARDIT_SOURCE_DIR) + "/tests/data/pictures/";

Image decode(const std::string& name) { return decode_image(read_bytes(kPictures + name)); }

struct Expected {
  std::string name;  // of the picture, and perhaps @SIDE
  Image image;
};

std::vector<Expected> all_expected() {
  std::vector<Expected> all;
  NpzReader npz(kPictures + "expected.npz");
  for (const NpzArray& array : npz.arrays()) {
    Image image(array.shape[0], array.shape[1], 3, 0);
    image.pixels = npz.read_all<uint8_t>(array.name);
    all.push_back({array.name, std::move(image)});
  }
  return all;
}

int largest_difference(const Image& a, const Image& b) {
  if (a.height != b.height || a.width != b.width || a.pixels.size() != b.pixels.size()) return 256;
  int largest = 0;
  for (size_t i = 0; i < a.pixels.size(); ++i) largest = std::max(largest, std::abs(a.pixels[i] - b.pixels[i]));
  return largest;
}

// Byte for byte: the same libjpeg algorithms, the same fixed-point arithmetic. (data.md: one grey level is allowed.)
TEST(Decode, GivesWhatPillowGives) {
  int pictures = 0, crops = 0;
  for (const Expected& expected : all_expected()) {
    const size_t at = expected.name.find('@');
    const Image image = decode(expected.name.substr(0, at));
    const bool whole = at == std::string::npos;
    const Image made = whole ? image : centre_crop(image, std::stoll(expected.name.substr(at + 1)));
    EXPECT_EQ(largest_difference(made, expected.image), 0) << expected.name;
    ++(whole ? pictures : crops);
  }
  EXPECT_EQ(pictures, 41);
  EXPECT_EQ(crops, 45);
}

struct Described {
  const char* name;
  ImageHeader::Format format;
  ImageHeader::Colour colour;
  int bits;
  bool progressive;
  int orientation;
};

TEST(Decode, TellsWhatAFileIsFromItsHeader) {
  using H = ImageHeader;
  for (const Described& d : {Described{"rgb-420.jpg", H::kJpeg, H::kRgb, 8, false, 1},
                             {"progressive.jpg", H::kJpeg, H::kRgb, 8, true, 1},
                             {"grey.jpg", H::kJpeg, H::kGrey, 8, false, 1},
                             {"cmyk.jpg", H::kJpeg, H::kCmyk, 8, false, 1},
                             {"turned.jpg", H::kJpeg, H::kRgb, 8, false, 6},
                             {"broken-exif.jpg", H::kJpeg, H::kRgb, 8, false, 1},
                             {"png-inside.jpeg", H::kPng, H::kRgb, 8, false, 1},
                             {"rgb-interlaced.png", H::kPng, H::kRgb, 8, true, 1},
                             {"rgba16.png", H::kPng, H::kRgba, 16, false, 1},
                             {"grey1.png", H::kPng, H::kGrey, 1, false, 1},
                             {"grey-alpha.png", H::kPng, H::kGreyAlpha, 8, false, 1},
                             {"palette4.png", H::kPng, H::kPalette, 4, false, 1}}) {
    const ImageHeader header = read_image_header(read_bytes(kPictures + d.name));
    const Image image = decode(d.name);
    EXPECT_EQ(header.width, image.width) << d.name;
    EXPECT_EQ(header.height, image.height) << d.name;
    EXPECT_EQ(header.format, d.format) << d.name;
    EXPECT_EQ(header.colour, d.colour) << d.name;
    EXPECT_EQ(header.bits, d.bits) << d.name;
    EXPECT_EQ(header.progressive, d.progressive) << d.name;
    EXPECT_EQ(header.orientation, d.orientation) << d.name;
  }
}

std::string complaint(const Bytes& bytes) {
  return message_of<CorruptImage>([&] { decode_image(bytes); });
}

TEST(Decode, AFileCutAnywhereIsCorrupt) {
  for (const char* name : {"rgb-420.jpg", "progressive.jpg", "restarts.jpg", "cmyk.jpg", "rgb.png", "palette4.png",
                           "rgb-interlaced.png"}) {
    const Bytes whole = read_bytes(kPictures + name);
    const bool png = whole[0] == 0x89;
    const size_t end = whole.size() - (png ? 12 : 0);  // a PNG's last chunk holds nothing
    for (size_t keep = 0; keep < end; keep += keep + 8 < end ? 7 : 1)
      EXPECT_NE(complaint(Bytes(whole.begin(), whole.begin() + static_cast<int64_t>(keep))), "nothing was thrown")
          << name << " cut after " << keep;
  }
  EXPECT_TRUE(says(complaint({}), {"the file is empty"}));
}

TEST(Decode, WhatIsNoPictureSaysWhatItIs) {
  EXPECT_TRUE(says(complaint({'R', 'I', 'F', 'F', 0}), {"begins with 52 49 46 46", "neither JPEG nor PNG"}));
  EXPECT_TRUE(says(complaint({0xff, 0xd8, 0xff, 0xe0}), {"as a JPEG"}));
}

// A PNG of a few bytes that asks for 10 GB.
TEST(Decode, APngBombIsRefusedBeforeAnythingIsAllocated) {
  Bytes bomb = read_bytes(kPictures + "rgb.png");
  const auto set = [&](uint32_t width, uint32_t height) {
    for (int i = 0; i < 4; ++i) {
      bomb[16 + i] = static_cast<uint8_t>(width >> (24 - 8 * i));
      bomb[20 + i] = static_cast<uint8_t>(height >> (24 - 8 * i));
    }
    const auto crc = static_cast<uint32_t>(crc32(0, bomb.data() + 12, 17));
    for (int i = 0; i < 4; ++i) bomb[29 + i] = static_cast<uint8_t>(crc >> (24 - 8 * i));
  };
  set(60000, 60000);
  EXPECT_TRUE(says(complaint(bomb), {"60000 x 60000", "expected 1 to 178956970"}));
  set(12000, 12000);
  EXPECT_TRUE(says(complaint(bomb), {"12000 x 12000 pixels", "bytes cannot hold"}));
  EXPECT_EQ(read_image_header(bomb).width, 12000) << "inspect may look at it";
  set(0x7fffffff, 0x7fffffff);
  EXPECT_TRUE(says(complaint(bomb), {"2147483647 x 2147483647"}));
}

TEST(Decode, AJpegOfAbsurdExtentsIsRefused) {
  Bytes bytes = read_bytes(kPictures + "grey.jpg");
  const Bytes frame = {0xff, 0xc0};
  const auto at = std::search(bytes.begin(), bytes.end(), frame.begin(), frame.end());
  ASSERT_NE(at, bytes.end());
  for (int i = 5; i < 9; i += 2) at[i] = 0xfd, at[i + 1] = 0xe8;
  EXPECT_TRUE(says(complaint(bytes), {"65000 x 65000", "expected 1 to"}));
}

// Each scan makes the decoder go over all pixels again.
TEST(Decode, AJpegOfThousandsOfScansIsRefused) {
  const Bytes bytes = read_bytes(kPictures + "progressive.jpg");
  const Bytes scan_head = {0xff, 0xda};
  const auto first = std::search(bytes.begin(), bytes.end(), scan_head.begin(), scan_head.end()),
             second = std::search(first + 2, bytes.end(), scan_head.begin(), scan_head.end());
  Bytes many(bytes.begin(), first);
  for (int i = 0; i < 2000; ++i) many.insert(many.end(), first, second);
  many.insert(many.end(), {0xff, 0xd9});
  EXPECT_TRUE(says(complaint(many), {"more than 500 scans"}));
}

// Any byte changed: a picture of the same size, or a CorruptImage; never anything else.
TEST(Decode, SurvivesEveryDamagedByte) {
  for (const auto& entry : std::filesystem::directory_iterator(kPictures)) {
    if (entry.path().extension() == ".npz") continue;
    const Bytes whole = read_bytes(entry.path());
    for (size_t at = 0; at < whole.size(); at += 1 + whole.size() / 300)
      for (uint8_t change : {0x01, 0x80, 0xff}) {
        Bytes damaged = whole;
        damaged[at] ^= change;
        try {
          const Image image = decode_image(damaged);
          EXPECT_EQ(std::ssize(image.pixels), image.height * image.width * 3) << entry.path() << " at " << at;
        } catch (const CorruptImage&) {}
      }
  }
}

}  // namespace
}  // namespace shardit

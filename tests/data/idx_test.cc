#include "data/idx.h"

#include <gtest/gtest.h>

#include "core/error.h"
#include "tests/data/files.h"

namespace shardit {
namespace {

using namespace testing_files;

constexpr uint32_t kImages = 0x0803, kLabels = 0x0801;

// Three images of 4 x 5 with labels 2, 0, 1.
struct SmallIdx {
  Folder folder;
  Bytes images = idx(kImages, {3, 4, 5}, counting(60)), labels = idx(kLabels, {3}, {2, 0, 1});

  std::unique_ptr<Dataset> open(int64_t classes = 3) const {
    const std::string i = write_bytes(folder / "images", images), l = write_bytes(folder / "labels", labels);
    return open_idx_files(i, l, "small", classes);
  }
  std::string io_error() const {
    return message_of<IoError>([&] { open(); });
  }
};

void expect_small(const Dataset& dataset) {
  EXPECT_EQ(dataset.size(), 3);
  EXPECT_EQ(dataset.height(), 4);
  EXPECT_EQ(dataset.width(), 5);
  EXPECT_EQ(dataset.channels(), 1);
  Bytes pixels(20);
  int64_t label = -1;
  dataset.read(1, pixels.data(), &label);
  EXPECT_EQ(label, 0);
  EXPECT_EQ(pixels.front(), 20);
  EXPECT_EQ(pixels.back(), 39);
}

TEST(Idx, PlainAndGzippedFilesGiveTheSameImages) {
  SmallIdx plain, packed;
  packed.images = gzip(packed.images);
  packed.labels = gzip(packed.labels);
  expect_small(*plain.open());
  expect_small(*packed.open());
  EXPECT_EQ(plain.open()->fingerprint(), packed.open()->fingerprint());
}

TEST(Idx, FingerprintChangesWithOnePixelOrOneLabel) {
  SmallIdx original, pixel, label;
  pixel.images.back() ^= 1;
  label.labels.back() ^= 1;
  EXPECT_NE(original.open()->fingerprint(), pixel.open()->fingerprint());
  EXPECT_NE(original.open()->fingerprint(), label.open()->fingerprint());
}

TEST(Idx, AFolderIsOpenedBySplitWithOrWithoutGz) {
  SmallIdx small;
  write_bytes(small.folder / "train-images-idx3-ubyte", small.images);
  write_bytes(small.folder / "train-labels-idx1-ubyte.gz", gzip(small.labels));
  const auto train = open_idx(small.folder.path(), "train", 3);
  expect_small(*train);
  EXPECT_TRUE(says(train->name(), {"/train"}));
  EXPECT_TRUE(says(message_of<UserError>([&] { open_idx(small.folder.path(), "test", 3); }),
                   {small.folder / "t10k-images-idx3-ubyte.gz", "apt-get install dataset-fashion-mnist"}));
  EXPECT_TRUE(says(message_of<UserError>([&] { open_idx(small.folder.path(), "dev", 3); }), {"train or test"}));
}

TEST(Idx, EveryCutOfAGzipFileIsRefused) {
  SmallIdx small;
  const Bytes whole = gzip(small.images);
  for (size_t kept = 2; kept < whole.size(); ++kept) {
    small.images.assign(whole.begin(), whole.begin() + static_cast<long>(kept));
    EXPECT_TRUE(says(small.io_error(), {"cut short", small.folder / "images"})) << kept;
  }
}

TEST(Idx, ADamagedGzipFileIsRefused) {
  SmallIdx small;
  small.images = gzip(small.images);
  small.images[small.images.size() - 6] ^= 0x10;  // in the CRC
  EXPECT_TRUE(says(small.io_error(), {"damaged"}));
}

TEST(Idx, JunkAfterAGzipStreamIsRefused) {
  SmallIdx small;
  small.images = gzip(small.images);
  small.images.push_back('x');
  EXPECT_TRUE(says(small.io_error(), {"1 bytes after the end"}));
}

TEST(Idx, AWrongMagicNumberIsNamed) {
  SmallIdx swapped;
  std::swap(swapped.images, swapped.labels);
  EXPECT_TRUE(says(swapped.io_error(), {"00000801", "expected 00000803"}));
  SmallIdx empty;
  empty.images.clear();
  EXPECT_TRUE(says(empty.io_error(), {"expected 00000803"}));
  SmallIdx shortened;
  shortened.images.resize(9);
  EXPECT_TRUE(says(shortened.io_error(), {"9 bytes, its header alone has 16"}));
}

TEST(Idx, ExtentsThatDoNotMatchTheBytesAreRefused) {
  const std::vector<std::vector<uint32_t>> lies = {{2, 4, 5},
                                                   {1, 1, 1},
                                                   {4, 4, 5},
                                                   {3, 4, 6},
                                                   {0, 4, 5},
                                                   {0xffffffff, 0xffffffff, 0xffffffff},
                                                   {0x80000000, 0x80000000, 4}};
  for (const auto& lie : lies) {
    SmallIdx small;
    small.images = idx(kImages, lie, counting(60));
    EXPECT_TRUE(says(small.io_error(), {"60 bytes follow its header"})) << lie[0];
  }
}

TEST(Idx, ImagesAndLabelsMustAgreeInNumber) {
  SmallIdx small;
  small.labels = idx(kLabels, {2}, {2, 0});
  EXPECT_TRUE(says(small.io_error(), {"3 images", "2 labels"}));
}

TEST(Idx, NoImagesAreRefused) {
  SmallIdx small;
  small.images = idx(kImages, {0, 4, 5}, {});
  small.labels = idx(kLabels, {0}, {});
  EXPECT_TRUE(says(small.io_error(), {"holds no images"}));
}

TEST(Idx, ALabelThatTheModelDoesNotKnowIsTheUsersMistake) {
  SmallIdx small;
  EXPECT_TRUE(says(message_of<UserError>([&] { small.open(2); }), {"label 2 of image 0", "0 to 1"}));
  EXPECT_EQ(small.open(0)->classes(), 3);
}

TEST(Idx, FashionMnistHasItsNamesAndCounts) {
  if (!std::filesystem::exists(kFashionMnistDirectory)) GTEST_SKIP() << "dataset-fashion-mnist is not installed";
  const auto test = open_idx(kFashionMnistDirectory, "test", 10);
  EXPECT_EQ(test->size(), 10000);
  EXPECT_EQ(test->image_bytes(), 784);
  EXPECT_EQ(test->name(), "fashion-mnist/test");
  ASSERT_EQ(test->class_names().size(), 10u);
  EXPECT_EQ(test->class_names()[0], "T-shirt/top");
  EXPECT_EQ(test->class_names()[9], "Ankle boot");
  const LabelledImages first = read_first(*test, 2);
  EXPECT_EQ(first.labels, (std::vector<int64_t>{9, 2}));
}

}  // namespace
}  // namespace shardit

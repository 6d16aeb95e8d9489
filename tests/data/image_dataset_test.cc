// Image files as a stream of training images: the pictures of tests/data/pictures, some of them damaged, in two
// classes.
#include "data/image_dataset.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "core/error.h"
#include "data/corrupt_image.h"
#include "data/decode.h"
#include "data/loader.h"
#include "data/resize.h"
#include "tests/data/tar_files.h"

namespace shardit {
namespace {

using namespace testing_files;
namespace fs = std::filesystem;

constexpr int64_t kSide = 12;

NamedFiles pictures() {
  NamedFiles files;
  for (const auto& entry : fs::directory_iterator(std::string(SHARDIT_SOURCE_DIR) + "/tests/data/pictures")) {
    if (entry.path().extension() == ".npz") continue;
    const std::string kind = entry.path().extension() == ".png" ? "png" : "jpeg";
    files.emplace_back(kind + "/" + entry.path().filename().string(), read_bytes(entry.path()));
  }
  return files;
}

struct Images : Folder {
  explicit Images(const NamedFiles& files = pictures()) { put_files(path(), files); }
  std::unique_ptr<ImageDataset> open() const { return ImageDataset::open({.path = path(), .side = kSide}); }
};

// Images 3 and 20, in order of names, are cut in half.
NamedFiles damaged_pictures() {
  NamedFiles files = pictures();
  std::sort(files.begin(), files.end());
  for (size_t i : {3, 20}) files[i].second.resize(files[i].second.size() / 2);
  return files;
}

struct Stream {
  std::vector<uint8_t> pixels;
  std::vector<int64_t> labels;
  std::vector<int64_t> corrupt;
  bool operator==(const Stream&) const = default;
};

// The first `samples` of the stream, as so many ranks read it.
Stream stream(const Dataset& data, int64_t samples, int64_t ranks, int threads, int depth) {
  constexpr int64_t kBatch = 3;  // divides all that is asked for
  Stream all{std::vector<uint8_t>(samples * data.image_bytes()), std::vector<int64_t>(samples), {}};
  for (int64_t rank = 0; rank < ranks; ++rank) {
    Loader loader(data, {.seed = 4,
                         .micro_batch_size = kBatch,
                         .first_micro_batch = rank,
                         .micro_batch_stride = ranks,
                         .threads = threads,
                         .depth = depth,
                         .flip = true,
                         .on_corrupt = OnCorrupt::kSkip});
    for (int64_t at = loader.position(); at < samples; at = loader.position()) {
      loader.next({all.pixels.data() + at * data.image_bytes(), all.labels.data() + at});
      for (const CorruptSample& c : loader.take_corrupt()) all.corrupt.push_back(c.sample);
    }
  }
  std::sort(all.corrupt.begin(), all.corrupt.end());
  return all;
}

TEST(ImageDataset, GivesTheCroppedPicturesWithTheirClasses) {
  const Images folder;
  const auto data = folder.open();
  EXPECT_EQ(data->classes(), 2);
  EXPECT_EQ(data->class_names().at(1), "png");
  for (int64_t i = 0; i < data->size(); ++i) {
    std::vector<uint8_t> pixels(data->image_bytes());
    int64_t label = -1;
    data->read(i, pixels.data(), &label);
    const std::string& name = data->files()[i].name;
    EXPECT_EQ(pixels, centre_crop(decode_image(read_bytes(folder / name)), kSide).pixels) << name;
    EXPECT_EQ(label, name.starts_with("png") ? 1 : 0) << name;
  }
}

TEST(ImageDataset, OfATarIsThatOfTheFolder) {
  const Images folder;
  const Folder other;
  write_bytes(other / "x.tar", make_tar(pictures()));
  const auto a = folder.open(), b = ImageDataset::open({.path = other / "x.tar", .side = kSide});
  EXPECT_EQ(a->fingerprint(), b->fingerprint());
  EXPECT_EQ(stream(*a, 60, 1, 1, 1), stream(*b, 60, 1, 2, 2));
}

// Whether two fingerprints have the same images, and the same classes.
std::pair<bool, bool> same(const std::string& a, const std::string& b) {
  const auto cut = [](const std::string& text) { return text.find(" of "); };
  return {a.substr(0, cut(a)) == b.substr(0, cut(b)), a.substr(cut(a)) == b.substr(cut(b))};
}

TEST(ImageDataset, FingerprintsTellWhatChanged) {
  const Images folder({{"cat/a.jpg", counting(5)}, {"cat/b.jpg", counting(5)}, {"dog/c.jpg", counting(5)}});
  const std::string before = folder.open()->fingerprint();
  EXPECT_EQ(folder.open()->fingerprint(), before);
  fs::rename(folder / "cat", folder / "canary");
  EXPECT_EQ(same(folder.open()->fingerprint(), before), std::pair(true, false)) << "a class has another name";
  fs::rename(folder / "canary", folder / "zebra");
  EXPECT_EQ(same(folder.open()->fingerprint(), before), std::pair(false, false)) << "and another number";
  fs::rename(folder / "zebra", folder / "cat");
  fs::rename(folder / "cat/b.jpg", folder / "dog/b.jpg");
  EXPECT_EQ(same(folder.open()->fingerprint(), before), std::pair(false, true)) << "an image has another class";
  fs::rename(folder / "dog/b.jpg", folder / "cat/b.jpg");
  EXPECT_EQ(folder.open()->fingerprint(), before);
  write_bytes(folder / "cat/b.jpg", counting(6));
  EXPECT_EQ(same(folder.open()->fingerprint(), before), std::pair(false, true)) << "an image has another size";
}

TEST(ImageDataset, RanksThreadsAndDepthChangeNothingWhereImagesAreCorrupt) {
  const Images folder(damaged_pictures());
  const auto data = folder.open();
  const int64_t epochs = 3 * data->size();
  const Stream expected = stream(*data, epochs, 1, 1, 1);
  EXPECT_GE(expected.corrupt.size(), 6u);
  for (int64_t ranks : {1, 2, 3})
    for (int threads : {1, 3})
      for (int depth : {1, 4}) EXPECT_EQ(stream(*data, epochs, ranks, threads, depth), expected) << ranks << " ranks";
}

// Every other sample shows what it shows without the damage; a damaged one what the draw says.
TEST(ImageDataset, ASkippedImageShiftsNothing) {
  const Images whole, damaged(damaged_pictures());
  const auto a = whole.open(), b = damaged.open();
  const int64_t epochs = 3 * a->size();
  const Stream good = stream(*a, epochs, 1, 1, 1), skipped = stream(*b, epochs, 1, 1, 1);
  const SampleOrder order(4, a->size());
  int replaced = 0;
  for (int64_t n = 0; n < epochs; ++n) {
    const int64_t index = order.index(n);
    const bool corrupt = index == 3 || index == 20;
    EXPECT_EQ(std::count(skipped.corrupt.begin(), skipped.corrupt.end(), n) > 0, corrupt) << n;
    int64_t shown = index;
    for (uint32_t attempt = 0; shown == 3 || shown == 20; ++attempt) shown = order.replacement(n, attempt);
    std::vector<uint8_t> pixels(a->image_bytes());
    int64_t label;
    a->read(shown, pixels.data(), &label);
    EXPECT_EQ(skipped.labels[n], label);
    const auto at = skipped.pixels.begin() + n * a->image_bytes();
    EXPECT_TRUE(order.flipped(n) || std::equal(pixels.begin(), pixels.end(), at)) << n;
    EXPECT_TRUE(corrupt || std::equal(at, at + a->image_bytes(), good.pixels.begin() + n * a->image_bytes())) << n;
    replaced += corrupt;
  }
  EXPECT_EQ(replaced, 6);
}

TEST(ImageDataset, ReplacementsDifferFromSampleToSample) {
  const SampleOrder order(4, 1000);
  std::vector<int> seen(1000);
  for (int64_t n = 0; n < 4000; ++n) ++seen[order.replacement(n, 0)];
  EXPECT_GT(std::count_if(seen.begin(), seen.end(), [](int count) { return count > 0; }), 950);
  EXPECT_LT(*std::max_element(seen.begin(), seen.end()), 20);
  EXPECT_NE(order.replacement(7, 0), order.replacement(7, 1));
}

TEST(ImageDataset, ACorruptImageIsNamedAndFatalUnlessSkipped) {
  const Images folder(damaged_pictures());
  const auto data = folder.open();
  const int64_t n = data->size();
  const std::string message = message_of<CorruptImage>([&] {
    Loader loader(*data, {.micro_batch_size = n, .threads = 3});
    std::vector<uint8_t> pixels(n * data->image_bytes());
    std::vector<int64_t> labels(n);
    loader.next({pixels.data(), labels.data()});
  });
  const SampleOrder order(0, n);
  int64_t first = 0;
  while (order.index(first) != 3 && order.index(first) != 20) ++first;
  EXPECT_TRUE(says(message, {"sample " + std::to_string(first) + " ", data->files()[order.index(first)].name,
                             "is corrupt", "data.on_corrupt=skip"}));
}

TEST(ImageDataset, WhereAllImagesAreCorruptSkippingEnds) {
  const Images folder({{"a/1.jpg", counting(9)}, {"a/2.jpg", counting(9)}});
  const auto data = folder.open();
  std::vector<uint8_t> pixels(data->image_bytes());
  int64_t label;
  std::vector<CorruptSample> corrupt;
  const SampleReader reader(*data, 1, false, OnCorrupt::kSkip);
  EXPECT_TRUE(says(message_of<CorruptImage>([&] { reader.read(0, pixels.data(), &label, corrupt); }),
                   {"is corrupt", "so were all 100"}));
}

// Another try might read it: skipping would make the stream depend on the disk's mood.
TEST(ImageDataset, AFileThatCannotBeReadIsFatalAlsoWhenSkipping) {
  const Images folder({{"a/1.jpg", counting(9)}, {"a/2.jpg", counting(9)}});
  const auto data = folder.open();
  fs::remove(folder / "a/1.jpg");
  std::vector<uint8_t> pixels(data->image_bytes());
  int64_t label;
  std::vector<CorruptSample> corrupt;
  const SampleReader reader(*data, 1, false, OnCorrupt::kSkip);
  EXPECT_TRUE(says(message_of<IoError>([&] { reader.read_in_order(0, pixels.data(), &label, corrupt); }),
                   {"image 0 of", "a/1.jpg", "No such file"}));
  EXPECT_TRUE(corrupt.empty());
}

}  // namespace
}  // namespace shardit

#include "launcher/sample_output.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "core/error.h"
#include "tests/launcher/test_folder.h"

namespace shardit {
namespace {

// Grey images of 2 x 2, each of its number.
SampledImages images(int64_t first, int64_t count) {
  SampledImages some{.first = first, .count = count, .height = 2, .width = 2, .channels = 1};
  for (int64_t i = first; i < first + count; ++i) some.pixels.insert(some.pixels.end(), 4, static_cast<uint8_t>(i));
  return some;
}

TEST(SampleFile, HoldsWhatCameInPartsInItsOrder) {
  const TestFolder folder;
  SampleFile file(folder / "s.npz", {.input_size = 2, .in_channels = 1}, {7, 8, 9});
  file.take(images(0, 2));
  EXPECT_FALSE(std::filesystem::exists(folder / "s.npz")) << "not yet";
  file.take(images(2, 1));
  file.close();
  NpzReader npz(folder / "s.npz");
  EXPECT_EQ(npz.find("arr_0")->shape, (Shape{3, 2, 2, 1}));
  EXPECT_EQ(npz.read_all<uint8_t>("arr_0"), (std::vector<uint8_t>{0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2}));
  EXPECT_EQ(npz.read_all<int64_t>("arr_1"), (std::vector<int64_t>{7, 8, 9}));
}

TEST(SampleFile, IsRefusedBeforeAnyImageWhereTheDiskIsTooSmall) {
  const TestFolder folder;
  EXPECT_THROW(SampleFile(folder / "s.npz", {.input_size = 1 << 20, .in_channels = 1 << 20}, {0}), IoError);
  EXPECT_TRUE(std::filesystem::is_empty(folder.path));
}

// The grid is the same however the images come, and whatever comes after those that it has room for.
TEST(ClassGrid, KeepsTheFirstOfEachClass) {
  const TestFolder folder;
  const std::vector<int64_t> classes = {0, 1}, labels = {0, 1, 0, 1, 1, 0};
  const std::vector<std::string> names = {"a", "b"};
  ClassGrid at_once(classes, labels), one_by_one(classes, labels);
  at_once.take(images(0, 6));
  for (int64_t i = 0; i < 6; ++i) one_by_one.take(images(i, 1));
  at_once.write(folder / "at_once.png", names);
  one_by_one.write(folder / "one_by_one.png", names);
  EXPECT_EQ(folder.read("at_once.png"), folder.read("one_by_one.png"));

  std::vector<int64_t> many(25, 0);
  ClassGrid ten({0}, many), more({0}, many);
  ten.take(images(0, 10));
  more.take(images(0, 25));
  ten.write(folder / "ten.png", {"a"});
  more.write(folder / "more.png", {"a"});
  EXPECT_EQ(folder.read("ten.png"), folder.read("more.png"));
}

}  // namespace
}  // namespace shardit

#include "data/image_files.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "core/error.h"
#include "data/decode.h"
#include "tests/data/tar_files.h"

namespace shardit {
namespace {

using namespace testing_files;
namespace fs = std::filesystem;

void put(const Folder& folder, const NamedFiles& files) { put_files(folder.path(), files); }

const NamedFiles kFiles = {{"train/dog/2.jpg", counting(20)},   {"train/cat/b.PNG", counting(30)},
                           {"train/cat/a.jpeg", counting(10)},  {"train/cat/deep/er/c.JPG", counting(5)},
                           {"train/notes.txt", counting(3)},    {"train/cat/.hidden.jpg", counting(4)},
                           {"train/cat/._a.jpeg", counting(4)}, {"test/dog/1.jpg", counting(40)}};

std::vector<std::string> names_of(const ImageFiles& files) {
  std::vector<std::string> names;
  for (int64_t i = 0; i < files.size(); ++i) names.push_back(files[i].name);
  return names;
}

std::string mistake(const std::string& path, const std::string& split = ".") {
  return message_of<UserError>([&] { ImageFiles(path, split); });
}

std::string failure(const std::string& path, const std::string& split = ".") {
  return message_of<IoError>([&] { ImageFiles(path, split); });
}

TEST(ListNames, PassesOverTheRestOfAFolderThatHasSaidEnough) {
  const Folder folder;
  put(folder, {{"top.jpg", {}}, {"cat/deep/1.jpg", {}}});
  for (int i = 0; i < 50; ++i)
    put(folder, {{"cat/" + std::to_string(i), {}}, {"dog/a/" + std::to_string(i), {}}, {"dog/b/2", {}}});
  std::vector<std::string> names;
  const auto count = [&](bool more) {
    names.clear();
    list_names(folder.path(), [&](const std::string& name) { return names.push_back(name), more; });
    return names.size();
  };
  EXPECT_EQ(count(true), 103u);
  EXPECT_EQ(count(false), 3u) << "one at the top, one of each folder";
  std::sort(names.begin(), names.end());
  EXPECT_EQ(names[0].substr(0, 4) + names[1].substr(0, 4) + names[2], "cat/dog/top.jpg");
}

TEST(ImageFiles, OfAFolderAndOfItsTarAreTheSame) {
  const Folder folder;
  put(folder, kFiles);
  write_bytes(folder / "images.tar", make_tar(kFiles));
  for (const std::string& path : {folder.path(), folder / "images.tar"}) {
    const ImageFiles files(path, "train");
    EXPECT_EQ(names_of(files), (std::vector<std::string>{"cat/a.jpeg", "cat/b.PNG", "cat/deep/er/c.JPG", "dog/2.jpg"}));
    EXPECT_EQ(files.read(0), counting(10));
    EXPECT_EQ(files.read(2), counting(5));
    EXPECT_EQ(files.read(3), counting(20));
    const Bytes start = files.read(3, 6), all = counting(20);
    EXPECT_TRUE(std::equal(start.begin(), start.end(), all.begin(), all.begin() + 6));
    EXPECT_EQ(files.read(3, 21), all);
    EXPECT_EQ(files.passed_over(), 3);
  }
  EXPECT_EQ(ImageFiles(folder / "images.tar", "train").name(), "images.tar/train");
  EXPECT_EQ(ImageFiles(folder.path() + "/", "test").name(), fs::path(folder.path()).filename().string() + "/test");
  EXPECT_EQ(ImageFiles(folder / "images.tar", ".").size(), 5);
}

TEST(ImageFiles, ASplitMayBeWrittenAsAnyPath) {
  const Folder folder;
  put(folder, kFiles);
  write_bytes(folder / "images.tar", make_tar(kFiles));
  for (const std::string& path : {folder.path(), folder / "images.tar"}) {
    for (const char* split : {"train/", "./train", "train/.", "test/../train//"}) {
      const ImageFiles files(path, split);
      EXPECT_EQ(files.size(), 4) << path << " " << split;
      EXPECT_TRUE(files.name().ends_with("/train")) << files.name();
    }
    EXPECT_EQ(ImageFiles(path, "./").name(), ImageFiles(path, ".").name());
    EXPECT_TRUE(says(mistake(path, ""), {"the split has no name"}));
  }
}

TEST(ImageFiles, FollowLinks) {
  const Folder folder, elsewhere;
  put(elsewhere, {{"photos/a.jpg", counting(7)}});
  put(folder, {{"dog/b.jpg", counting(8)}});
  fs::create_directory_symlink(elsewhere / "photos", folder / "cat");
  fs::create_symlink(elsewhere / "photos/a.jpg", folder / "dog/linked.jpg");
  const ImageFiles files(folder.path(), ".");
  EXPECT_EQ(names_of(files), (std::vector<std::string>{"cat/a.jpg", "dog/b.jpg", "dog/linked.jpg"}));
  EXPECT_EQ(files.read(0), files.read(2));
  fs::create_directory_symlink(folder.path(), folder / "dog/up");
  EXPECT_TRUE(says(failure(folder.path()), {"dog/up", "it is a link to a folder that it lies in"}));
  fs::remove(folder / "dog/up");
  fs::remove(elsewhere / "photos/a.jpg");
  EXPECT_TRUE(says(failure(folder.path()), {"linked.jpg", "a link that leads nowhere"}));
}

TEST(ImageFiles, WhereNothingIsFoundItIsSaidWhatIsThere) {
  const Folder folder;
  EXPECT_TRUE(says(mistake(folder / "absent"), {"no folder or tar of images", "absent"}));
  EXPECT_TRUE(says(mistake(folder.path()), {"no images in", "0 other files", ".jpg, .jpeg or .png"}));
  put(folder, kFiles);
  write_bytes(folder / "images.tar", make_tar(kFiles));
  EXPECT_TRUE(says(mistake(folder.path(), "val"), {"no folder", "/val'", "data.split"}));
  EXPECT_TRUE(says(mistake(folder / "images.tar", "val"), {"no folder 'val'", "which has test, train", "data.split"}));
  put(folder, {{"train/cat/d.webp", counting(4)}, {"train/cat/e.GIF", counting(4)}});
  EXPECT_TRUE(
      says(mistake(folder.path(), "train"), {"a kind that is not read", "d.webp", "turn them into JPEG or PNG"}));
}

TEST(ImageFiles, AFileThatChangedOrCannotBeReadIsAnIoError) {
  const Folder folder;
  put(folder, {{"a.jpg", counting(7)}, {"b.jpg", counting(8)}});
  const ImageFiles files(folder.path(), ".");
  write_bytes(folder / "a.jpg", counting(6));
  EXPECT_TRUE(
      says(message_of<IoError>([&] { files.read(0); }), {"a.jpg", "has 6 bytes, it had 7", "leave the data alone"}));
  fs::remove(folder / "b.jpg");
  EXPECT_TRUE(says(message_of<IoError>([&] { files.read(1); }), {"cannot open", "b.jpg", "No such file"}));
}

// Of 2 GiB without a byte on the disk: nobody may take memory for it.
TEST(ImageFiles, AFileThatIsTooLargeForAPictureIsCorrupt) {
  const Folder folder;
  put(folder, {{"a.jpg", counting(7)}});
  fs::resize_file(folder / "a.jpg", kMaxImageBytes + 1);
  const ImageFiles files(folder.path(), ".");
  for (uint64_t most : {uint64_t{8}, kMaxImageBytes, kMaxImageBytes + 1})
    EXPECT_TRUE(
        says(message_of<CorruptImage>([&] { files.read(0, most); }), {"2147483641 bytes", "at most 2147483640"}));
}

TEST(ImageFiles, ATarThatShrinksIsAnIoError) {
  const Folder folder;
  const std::string path = write_bytes(folder / "x.tar", make_tar({{"a.jpg", counting(9000)}}));
  const ImageFiles files(path, ".");
  fs::resize_file(path, 5000);
  EXPECT_TRUE(says(message_of<IoError>([&] { files.read(0); }), {"x.tar", "cut short"}));
}

}  // namespace
}  // namespace shardit

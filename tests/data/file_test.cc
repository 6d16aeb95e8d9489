#include "data/file.h"

#include <gtest/gtest.h>

#include "core/error.h"
#include "tests/data/files.h"

namespace shardit {
namespace {

using namespace testing_files;

TEST(File, ReadsWhatItWroteAndNoMore) {
  const Folder folder;
  File out(folder / "a", File::kWrite);
  out.write("abcdef", 6);
  out.seek(2);
  out.write("X", 1);
  out.close();
  EXPECT_EQ(read_file(folder / "a"), (Bytes{'a', 'b', 'X', 'd', 'e', 'f'}));
  File in(folder / "a", File::kRead);
  char bytes[7];
  EXPECT_TRUE(says(message_of<IoError>([&] { in.read(bytes, 7); }), {folder / "a", "cut short: 6 bytes"}));
}

// A small write fails when the buffer goes out, at close; a large one at once.
TEST(File, AFullDiskIsAnError) {
  const Folder folder;
  const SmallFiles limit(500);
  const Bytes bytes(size_t{1} << 20);
  File small(folder / "small", File::kWrite), large(folder / "large", File::kWrite);
  small.write(bytes.data(), 1000);
  EXPECT_TRUE(says(message_of<IoError>([&] { small.close(); }), {folder / "small", "File too large"}));
  EXPECT_TRUE(says(message_of<IoError>([&] { large.write(bytes.data(), bytes.size()); }), {folder / "large"}));
}

TEST(File, OnlyRegularFilesAreUsed) {
  const Folder folder;
  EXPECT_TRUE(says(message_of<IoError>([&] { File(folder.path(), File::kRead); }), {folder.path(), "regular file"}));
  EXPECT_TRUE(says(message_of<IoError>([&] { File(folder / "none", File::kRead); }), {"none", "No such file"}));
}

}  // namespace
}  // namespace shardit

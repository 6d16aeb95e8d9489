#include "checkpoints/file_system.h"

#include <gtest/gtest.h>

#include <cerrno>

#include "tests/checkpoints/expect_error.h"
#include "tests/checkpoints/temporary_dir.h"

namespace shardit {
namespace {

TEST(PosixFiles, ReadWhatTheyWrote) {
  TemporaryDir dir;
  PosixFiles files;
  write_file(files, dir.path() + "/a", "hello");
  EXPECT_EQ(read_file(files, dir.path() + "/a"), "hello");
  char part[3] = {};
  files.open(dir.path() + "/a")->read(2, part, 2);
  EXPECT_STREQ(part, "ll");
}

TEST(PosixFiles, TellFilesFromDirectories) {
  TemporaryDir dir;
  PosixFiles files;
  files.make_dir(dir.path() + "/b");
  write_file(files, dir.path() + "/a", "");
  EXPECT_EQ(files.kind(dir.path() + "/a"), PathKind::kFile);
  EXPECT_EQ(files.kind(dir.path() + "/b"), PathKind::kDirectory);
  EXPECT_EQ(files.kind(dir.path() + "/a/x"), PathKind::kMissing);
  EXPECT_EQ(files.list(dir.path()), (std::vector<std::string>{"a", "b"}));
}

TEST(PosixFiles, NeverOverwriteWhenCreating) {
  TemporaryDir dir;
  PosixFiles files;
  write_file(files, dir.path() + "/a", "old");
  EXPECT_HAS(error_of<IoError>([&] { files.create(dir.path() + "/a"); }), "File exists");
  EXPECT_EQ(read_file(files, dir.path() + "/a"), "old");
}

TEST(PosixFiles, RenameSyncAndRemove) {
  TemporaryDir dir;
  PosixFiles files;
  files.make_dir(dir.path() + "/d");
  write_file(files, dir.path() + "/d/x", "1");
  files.rename(dir.path() + "/d", dir.path() + "/e");
  files.sync_dir(dir.path());
  remove_tree(files, dir.path() + "/e", "x");
  EXPECT_TRUE(files.list(dir.path()).empty());
  EXPECT_GT(files.free_bytes(dir.path()), 0);
}

TEST(PosixFiles, ErrorsNameCallPathReasonAndFix) {
  PosixFiles files;
  const std::string message = error_of<IoError>([&] { files.open("/nowhere/at/all"); });
  EXPECT_EQ(message, "open /nowhere/at/all: No such file or directory\ncheck the path");
  EXPECT_HAS(std::string(io_error("write", "x", ENOSPC).what()), "write x: No space left on device\nfree space");
}

TEST(PosixFiles, ReadingBeyondTheEndNamesTheOffset) {
  TemporaryDir dir;
  PosixFiles files;
  write_file(files, dir.path() + "/a", "hello");
  char buffer[8];
  EXPECT_HAS(error_of<IoError>([&] { files.open(dir.path() + "/a")->read(2, buffer, 8); }), "ends at byte 5");
}

}  // namespace
}  // namespace shardit

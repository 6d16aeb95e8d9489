#include "data/tar_index.h"

#include <gtest/gtest.h>

#include "core/error.h"
#include "tests/data/tar_files.h"

namespace shardit {
namespace {

using namespace testing_files;

std::string complaint(const Bytes& tar) {
  return message_of<IoError>([&] { index_tar(tar, "x.tar"); });
}

Bytes bytes_of(const Bytes& tar, const ListedFile& file) {
  const auto begin = tar.begin() + static_cast<int64_t>(file.offset);
  return {begin, begin + static_cast<int64_t>(file.bytes)};
}

TEST(TarIndex, FindsEveryByteInEveryDialect) {
  for (const std::string format : {"v7tar", "ustar", "pax", "gnutar"}) {
    NamedFiles files = {{"a/", {}},
                        {"a/one.jpg", counting(1)},
                        {"a/empty.jpg", {}},
                        {"b.jpg", counting(70'000)},
                        {"c/full.jpg", counting(1024)}};
    if (format != "v7tar") files.push_back({std::string(90, 'd') + "/" + std::string(90, 'e') + ".jpg", counting(5)});
    if (format == "pax" || format == "gnutar") files.push_back({std::string(300, 'f') + ".jpg", counting(513)});
    const Bytes tar = make_tar(files, format);
    const std::vector<ListedFile> found = index_tar(tar, "x.tar");
    ASSERT_EQ(found.size(), files.size() - 1) << format << ": all but the folder";
    for (size_t i = 0; i < found.size(); ++i) {
      EXPECT_EQ(found[i].name, files[i + 1].first);
      EXPECT_EQ(bytes_of(tar, found[i]), files[i + 1].second) << format << " " << found[i].name;
    }
  }
}

// In a pax header names are UTF-8, in the older ones any bytes.
TEST(TarIndex, KeepsTheBytesOfNames) {
  const std::string name = "gr\xc3\xbc\xc3\x9f.jpg", record = "19 path=" + name + "\n";
  ASSERT_EQ(record.size(), 19u);
  const Bytes pax(record.begin(), record.end());
  const auto found = index_tar(raw_tar({{"PaxHeaders/x", 'x', pax}, {"short.jpg"}, {"gr\xfc\xdf.jpg"}}), "x.tar");
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found[0].name, name);
  EXPECT_EQ(found[1].name, "gr\xfc\xdf.jpg");
}

TEST(TarIndex, OfAFileIsThatOfItsBytes) {
  const Folder folder;
  const Bytes tar = make_tar({{"a.jpg", counting(9000)}, {"b/c.png", counting(17)}});
  const std::vector<ListedFile> bytes = index_tar(tar, "x.tar"),
                                file = index_tar(File(write_bytes(folder / "x.tar", tar), File::kRead));
  ASSERT_EQ(file.size(), bytes.size());
  for (size_t i = 0; i < file.size(); ++i) {
    EXPECT_EQ(file[i].name, bytes[i].name);
    EXPECT_EQ(file[i].offset, bytes[i].offset);
    EXPECT_EQ(file[i].bytes, bytes[i].bytes);
  }
}

TEST(TarIndex, MakesNamesPlain) {
  const auto found = index_tar(raw_tar({{"./a//b/./c.jpg"}, {"d.jpg"}}), "x.tar");
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found[0].name, "a/b/c.jpg");
  EXPECT_EQ(found[1].name, "d.jpg");
}

TEST(TarIndex, RefusesWhatNoTarOfImagesNeeds) {
  for (const std::string name : {"/etc/passwd.jpg", "../a.jpg", "a/../../b.jpg", "a/.."})
    EXPECT_TRUE(
        says(complaint(raw_tar({{"good.jpg"}, {name}})), {"x.tar", "'" + name + "'", "at byte", "without '..'"}));
  EXPECT_TRUE(says(complaint(raw_tar({{"a.jpg", '2', {}, "/etc/passwd"}})), {"'a.jpg'", "it is a link"}));
  EXPECT_TRUE(says(complaint(raw_tar({{"b.jpg"}, {"a.jpg", '1', {}, "b.jpg"}})), {"'a.jpg'", "it is a link"}));
  for (char device : {'3', '4', '6'})
    EXPECT_TRUE(says(complaint(raw_tar({{"a.jpg", device}})), {"'a.jpg'", "no regular file"}));
  EXPECT_TRUE(says(complaint(raw_tar({{"a.jpg"}, {"./a.jpg"}})), {"'./a.jpg'", "twice"}));
  EXPECT_TRUE(says(complaint(raw_tar({{"../a\n\x1b[2J.jpg"}})), {"'../a??[2J.jpg'"}));
}

TEST(TarIndex, RefusesFilesWithHoles) {
  Bytes tar = raw_tar({{"a.jpg", 'S', counting(512), "", "00000001000"}});
  std::strcpy(reinterpret_cast<char*>(tar.data()) + 386, "00000000000");  // GNU: one piece of data, from here,
  std::strcpy(reinterpret_cast<char*>(tar.data()) + 398, "00000001000");  // this long,
  std::strcpy(reinterpret_cast<char*>(tar.data()) + 483, "00000004000");  // of so many bytes in all
  std::memcpy(tar.data() + 257, "ustar  ", 8);
  std::memset(tar.data() + 148, ' ', 8);
  unsigned sum = 0;
  for (int i = 0; i < 512; ++i) sum += tar[i];
  std::snprintf(reinterpret_cast<char*>(tar.data()) + 148, 8, "%06o", sum);
  EXPECT_TRUE(says(complaint(tar), {"'a.jpg'", "file with holes"}));
}

TEST(TarIndex, CutAnywhereIsAnError) {
  const Bytes tar = make_tar({{"a.jpg", counting(700)}, {"b.jpg", counting(10)}, {"c.jpg", counting(1024)}}, "ustar");
  const ListedFile last = index_tar(tar, "x.tar").back();
  for (size_t keep = 0; keep < last.offset + last.bytes + 512; keep += 64)
    EXPECT_TRUE(says(complaint(Bytes(tar.begin(), tar.begin() + static_cast<int64_t>(keep))), {"x.tar"})) << keep;
}

TEST(TarIndex, SizesThatLieAreErrors) {
  EXPECT_TRUE(says(complaint(raw_tar({{"a.jpg", '0', counting(5), "", "77777777777"}})),
                   {"cut short", "'a.jpg' should have 8589934591 bytes"}));
  EXPECT_TRUE(
      says(complaint(raw_tar({{"a.jpg", '0', counting(600), "", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"}})),
           {"x.tar"}));
}

TEST(TarIndex, ADamagedHeaderIsToldWithItsPlace) {
  Bytes tar = raw_tar({{"a.jpg", '0', counting(100)}, {"b.jpg", '0', counting(100)}});
  tar[1024 + 3] ^= 1;
  EXPECT_TRUE(says(complaint(tar), {"'x.tar' is no tar, or is damaged near byte 1536"}));
}

// Any byte changed: an index whose files lie inside, or an error.
TEST(TarIndex, SurvivesEveryDamagedByte) {
  const Bytes whole = make_tar({{std::string(120, 'n') + "/a.jpg", counting(70)}, {"b.jpg", counting(10)}});
  for (size_t at = 0; at < whole.size(); ++at)
    for (uint8_t change : {0x01, 0x80, 0xff}) {
      Bytes tar = whole;
      tar[at] ^= change;
      try {
        for (const ListedFile& file : index_tar(tar, "x.tar")) EXPECT_LE(file.offset + file.bytes, tar.size());
      } catch (const Error&) {}
    }
}

TEST(TarIndex, WhatIsNoTarIsSaid) {
  EXPECT_TRUE(says(complaint(counting(2000)), {"'x.tar' is no tar"}));
  EXPECT_TRUE(says(complaint({}), {"x.tar"}));
  const auto mistake = [](const Bytes& bytes) { return message_of<UserError>([&] { index_tar(bytes, "x.tgz"); }); };
  EXPECT_TRUE(says(mistake(gzip(make_tar({{"a.jpg", {}}}))), {"'x.tgz' is a gzip archive", "fix: unpack it"}));
  EXPECT_TRUE(says(mistake({0x28, 0xb5, 0x2f, 0xfd, 0, 0}), {"is a zstd archive"}));
  EXPECT_TRUE(says(mistake({'P', 'K', 3, 4, 0, 0}), {"is a zip archive"}));
}

}  // namespace
}  // namespace shardit

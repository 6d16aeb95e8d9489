// Tars that the tests of this room make: good ones by libarchive, in each of its dialects, and hostile ones by hand;
// and folders of the same files.
#pragma once

#include <archive.h>
#include <archive_entry.h>

#include <cstdio>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "tests/data/files.h"

namespace shardit::testing_files {

using NamedFiles = std::vector<std::pair<std::string, Bytes>>;

// Those files below a folder.
inline void put_files(const std::string& root, const NamedFiles& files) {
  for (const auto& [name, data] : files) {
    const std::filesystem::path path = root + "/" + name;
    std::filesystem::create_directories(path.parent_path());
    write_bytes(path, data);
  }
}

inline Bytes make_tar(const NamedFiles& files, const std::string& format = "pax") {
  Bytes bytes(size_t{1} << 20);
  for (const auto& file : files) bytes.resize(bytes.size() + file.second.size() + 4096);
  archive* writer = archive_write_new();
  archive_write_set_format_by_name(writer, format.c_str());
  archive_write_set_bytes_per_block(writer, 512);
  size_t used = 0;
  archive_write_open_memory(writer, bytes.data(), bytes.size(), &used);
  for (const auto& [name, data] : files) {
    archive_entry* entry = archive_entry_new();
    archive_entry_set_pathname(entry, name.c_str());
    archive_entry_set_filetype(entry, name.back() == '/' ? AE_IFDIR : AE_IFREG);
    archive_entry_set_perm(entry, 0644);
    archive_entry_set_size(entry, static_cast<la_int64_t>(data.size()));
    EXPECT_EQ(archive_write_header(writer, entry), ARCHIVE_OK) << archive_error_string(writer);
    archive_write_data(writer, data.data(), data.size());
    archive_entry_free(entry);
  }
  archive_write_free(writer);
  bytes.resize(used);
  return bytes;
}

// One entry of a ustar: its header and its data, as the fields say, true or not.
struct RawEntry {
  std::string name;
  char type = '0';
  Bytes data = {};
  std::string link = {};
  std::string size = {};  // in octal; by default that of the data
};

inline Bytes raw_tar(const std::vector<RawEntry>& entries, size_t end_blocks = 2) {
  Bytes bytes;
  for (const RawEntry& e : entries) {
    char head[512] = {}, size[24];
    std::snprintf(size, sizeof size, "%011zo", e.data.size());
    std::memcpy(head, e.name.data(), std::min<size_t>(e.name.size(), 100));
    std::strcpy(head + 100, "0000644");
    std::strcpy(head + 124, e.size.empty() ? size : e.size.c_str());
    std::strcpy(head + 136, "00000000000");
    std::memset(head + 148, ' ', 8);
    head[156] = e.type;
    std::strcpy(head + 157, e.link.c_str());
    std::memcpy(head + 257, "ustar\00000", 8);
    unsigned sum = 0;
    for (char c : head) sum += static_cast<unsigned char>(c);
    std::snprintf(head + 148, 8, "%06o", sum);
    bytes.insert(bytes.end(), head, head + 512);
    bytes.insert(bytes.end(), e.data.begin(), e.data.end());
    bytes.resize((bytes.size() + 511) / 512 * 512);
  }
  bytes.resize(bytes.size() + 512 * end_blocks);
  return bytes;
}

}  // namespace shardit::testing_files

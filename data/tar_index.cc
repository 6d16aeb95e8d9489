#include "data/tar_index.h"

#include <archive.h>
#include <archive_entry.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <unordered_set>

#include <glog/logging.h>

#include "core/error.h"

namespace shardit {
namespace {

constexpr uint64_t kTarBlock = 512;
constexpr size_t kBlockBytes = 4096;  // what is read to see one header: images are skipped, not read

// The archive as libarchive asks for it: bytes in order, with leaps.
struct Source {
  std::function<void(uint64_t at, uint8_t* to, size_t bytes)> read;
  uint64_t size = 0;
  std::string path;

  uint64_t at = 0;
  uint8_t block[kBlockBytes] = {};
  std::exception_ptr failure;  // no exception passes through libarchive's frames
};

la_ssize_t read_block(archive* reader, void* data, const void** block) {
  Source& source = *static_cast<Source*>(data);
  const size_t bytes = static_cast<size_t>(std::min<uint64_t>(kBlockBytes, source.size - source.at));
  try {
    source.read(source.at, source.block, bytes);
  } catch (...) {
    source.failure = std::current_exception();
    archive_set_error(reader, EIO, "unreadable");
    return -1;
  }
  source.at += bytes;
  *block = source.block;
  return static_cast<la_ssize_t>(bytes);
}

la_int64_t skip_bytes(archive*, void* data, la_int64_t wanted) {
  Source& source = *static_cast<Source*>(data);
  const uint64_t bytes = std::min(static_cast<uint64_t>(std::max<la_int64_t>(wanted, 0)), source.size - source.at);
  source.at += bytes;
  return static_cast<la_int64_t>(bytes);
}

// Pax headers hold UTF-8, which libarchive does not turn into the bytes of the "C" locale; older ones hold any bytes.
std::string raw_name(archive_entry* entry) {
  for (const char* name : {archive_entry_pathname_utf8(entry), archive_entry_pathname(entry)})
    if (name) return name;
  return "";
}

// "./a//b" is "a/b"; nothing if the name is absolute, climbs, or names no file.
std::optional<std::string> plain_name(const std::string& raw) {
  if (raw.empty() || raw[0] == '/') return std::nullopt;
  std::string name;
  for (size_t begin = 0; begin <= raw.size();) {
    const size_t end = std::min(raw.find('/', begin), raw.size());
    const std::string part = raw.substr(begin, end - begin);
    begin = end + 1;
    if (part == "..") return std::nullopt;
    if (part.empty() || part == ".") continue;
    name += (name.empty() ? "" : "/") + part;
  }
  return name.empty() ? std::nullopt : std::optional(name);
}

class Index {
 public:
  explicit Index(Source& source) : source_(source), reader_(archive_read_new(), archive_read_free) {
    CHECK(reader_);
    archive_read_support_format_tar(reader_.get());
    archive_read_set_skip_callback(reader_.get(), skip_bytes);
    archive_read_set_read_callback(reader_.get(), read_block);
    archive_read_set_callback_data(reader_.get(), &source_);
  }

  std::vector<ListedFile> files() {
    check(archive_read_open1(reader_.get()));
    std::vector<ListedFile> files;
    for (archive_entry* entry; check(archive_read_next_header(reader_.get(), &entry)) != ARCHIVE_EOF;) {
      const bool folder = archive_entry_filetype(entry) == AE_IFDIR;
      ListedFile file{.name = folder ? "" : name_of(entry), .offset = position(), .bytes = content_bytes(entry)};
      end_ = (file.offset + file.bytes + kTarBlock - 1) / kTarBlock * kTarBlock;
      if (!folder) files.push_back(std::move(file));
    }
    if (source_.size < end_ + kTarBlock) cut_short("no mark of its end follows the last file");
    return files;
  }

 private:
  // A warning is about a name that the locale cannot show, and about nothing else here.
  int check(int status) const {
    if (source_.failure) std::rethrow_exception(source_.failure);
    if (status == ARCHIVE_OK || status == ARCHIVE_WARN || status == ARCHIVE_EOF) return status;
    const char* why = archive_error_string(reader_.get());
    throw IoError("'" + source_.path + "' is no tar, or is damaged near byte " + std::to_string(position()) + ": " +
                  (why ? why : "unknown error") + "\nfix: copy or make the archive again");
  }

  // Of the bytes that follow the header which was read last.
  uint64_t position() const {
    return static_cast<uint64_t>(std::max<la_int64_t>(0, archive_filter_bytes(reader_.get(), 0)));
  }

  [[noreturn]] void cut_short(const std::string& why) const {
    throw IoError("'" + source_.path + "' is cut short at " + std::to_string(source_.size) + " bytes: " + why +
                  "\nfix: copy or make the archive again");
  }

  uint64_t content_bytes(archive_entry* entry) const {
    const auto bytes = static_cast<uint64_t>(std::max<la_int64_t>(0, archive_entry_size(entry)));
    if (position() > source_.size || bytes > source_.size - position())
      cut_short("'" + printable(raw_name(entry)) + "' should have " + std::to_string(bytes) + " bytes from byte " +
                std::to_string(position()));
    return bytes;
  }

  // Of a file that a tar of images may hold.
  std::string name_of(archive_entry* entry) {
    const std::string raw = raw_name(entry);
    const auto refuse = [&](const std::string& why) {
      throw IoError("'" + source_.path + "' holds '" + printable(raw) + "' at byte " + std::to_string(position()) +
                    ": " + why);
    };
    const std::optional<std::string> name = plain_name(raw);
    if (!name)
      refuse("a tar of images has relative names without '..'\nfix: make it anew with tar -C FOLDER -cf FILE.tar .");
    if (archive_entry_hardlink(entry) || archive_entry_filetype(entry) == AE_IFLNK)
      refuse("it is a link\nfix: make the archive anew with tar --dereference --hard-dereference");
    if (archive_entry_filetype(entry) != AE_IFREG) refuse("it is no regular file");
    if (archive_entry_sparse_count(entry) > 0)
      refuse("it is a file with holes\nfix: make the archive without --sparse");
    if (!names_.insert(*name).second) refuse("the name stands there twice");
    return *name;
  }

  Source& source_;
  std::unique_ptr<archive, int (*)(archive*)> reader_;
  std::unordered_set<std::string> names_;
  uint64_t end_ = 0;  // of the last entry, whole blocks
};

// What compressed archives begin with: images cannot be found in them without unpacking all before.
void refuse_compressed(Source& source) {
  struct Format {
    const char *magic, *name;
  };
  uint8_t head[6] = {};
  source.read(0, head, std::min<uint64_t>(sizeof head, source.size));
  for (const Format& format : {Format{"\x1f\x8b", "gzip"}, Format{"\x28\xb5\x2f\xfd", "zstd"}, Format{"BZh", "bzip2"},
                               Format{"\xfd\x37zXZ", "xz"}, Format{"PK\x03\x04", "zip"}})
    REQUIRE(std::memcmp(head, format.magic, std::strlen(format.magic)) != 0,
            "'" + source.path + "' is a " + format.name + " archive: expected a plain tar, in which any image can be " +
                "reached\nfix: unpack it");
}

std::vector<ListedFile> index(Source source) {
  refuse_compressed(source);
  return Index(source).files();
}

}  // namespace

std::vector<ListedFile> index_tar(std::span<const uint8_t> bytes, const std::string& path) {
  return index({.read = [bytes](uint64_t at, uint8_t* to, size_t n) { std::copy_n(bytes.data() + at, n, to); },
                .size = bytes.size(),
                .path = path});
}

std::vector<ListedFile> index_tar(const File& tar) {
  return index({.read = [&tar](uint64_t at, uint8_t* to, size_t n) { tar.read_at(at, to, n); },
                .size = tar.size(),
                .path = tar.path()});
}

}  // namespace shardit

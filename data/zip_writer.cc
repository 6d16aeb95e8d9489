#include <zlib.h>

#include <cstdio>
#include <filesystem>

#include <glog/logging.h>

#include "core/error.h"
#include "data/zip.h"

namespace shardit {
namespace {

constexpr uint16_t kVersion = 20, kVersionZip64 = 45, kStored = 0, kNoTime = 0, kJanuary1980 = 0x21, kZip64Extra = 1;
constexpr uint64_t kCrcOffset = 14;  // in a local header

// Little-endian fields, in the order of the specification.
struct Fields {
  std::string bytes;
  Fields& u16(uint64_t v) { return put(v, 2); }
  Fields& u32(uint64_t v) { return put(v, 4); }
  Fields& u64(uint64_t v) { return put(v, 8); }
  Fields& text(const std::string& s) {
    bytes += s;
    return *this;
  }

 private:
  Fields& put(uint64_t v, int n) {
    for (int i = 0; i < n; ++i) bytes += static_cast<char>(v >> (8 * i));
    return *this;
  }
};

// A number as its 32-bit field shows it: all ones where the zip64 form holds it.
uint64_t narrow(uint64_t value, uint64_t zip64_from) { return value >= zip64_from ? 0xffffffffu : value; }

std::string local_header(const ZipMember& m, uint64_t zip64_from) {
  Fields extra;
  if (m.bytes >= zip64_from) extra.u16(kZip64Extra).u16(16).u64(m.bytes).u64(m.bytes);
  const uint64_t shown = narrow(m.bytes, zip64_from);
  return Fields()
      .u32(0x04034b50)
      .u16(extra.bytes.empty() ? kVersion : kVersionZip64)
      .u16(0)
      .u16(kStored)
      .u16(kNoTime)
      .u16(kJanuary1980)
      .u32(m.crc)
      .u32(shown)
      .u32(shown)
      .u16(m.name.size())
      .u16(extra.bytes.size())
      .text(m.name)
      .text(extra.bytes)
      .bytes;
}

std::string directory_entry(const ZipMember& m, uint64_t zip64_from) {
  Fields large;
  if (m.bytes >= zip64_from) large.u64(m.bytes).u64(m.bytes);
  if (m.offset >= zip64_from) large.u64(m.offset);
  Fields extra;
  if (!large.bytes.empty()) extra.u16(kZip64Extra).u16(large.bytes.size()).text(large.bytes);
  const uint64_t shown = narrow(m.bytes, zip64_from), version = large.bytes.empty() ? kVersion : kVersionZip64;
  return Fields()
      .u32(0x02014b50)
      .u16(version)
      .u16(version)
      .u16(0)
      .u16(kStored)
      .u16(kNoTime)
      .u16(kJanuary1980)
      .u32(m.crc)
      .u32(shown)
      .u32(shown)
      .u16(m.name.size())
      .u16(extra.bytes.size())
      .u16(0)
      .u16(0)
      .u16(0)
      .u32(0)
      .u32(narrow(m.offset, zip64_from))
      .text(m.name)
      .text(extra.bytes)
      .bytes;
}

// The records after the directory, which begins at `offset`.
std::string end_records(uint64_t members, uint64_t offset, uint64_t bytes, uint64_t zip64_from) {
  Fields end;
  const bool zip64 = offset >= zip64_from || bytes >= zip64_from;
  if (zip64) {
    end.u32(0x06064b50)
        .u64(44)
        .u16(kVersionZip64)
        .u16(kVersionZip64)
        .u32(0)
        .u32(0)
        .u64(members)
        .u64(members)
        .u64(bytes)
        .u64(offset);
    end.u32(0x07064b50).u32(0).u64(offset + bytes).u32(1);
  }
  return end.u32(0x06054b50)
      .u16(0)
      .u16(0)
      .u16(members)
      .u16(members)
      .u32(narrow(bytes, zip64_from))
      .u32(narrow(offset, zip64_from))
      .u16(0)
      .bytes;
}

std::string partial(const std::string& path) { return path + ".partial"; }

}  // namespace

ZipWriter::ZipWriter(const std::string& path, uint64_t zip64_from)
    : path_(path),
      zip64_from_(zip64_from),
      file_(std::make_unique<File>(partial(path), File::kWrite)) {}

ZipWriter::~ZipWriter() {
  if (!file_) return;
  file_.reset();
  std::remove(partial(path_).c_str());
}

void ZipWriter::put(const std::string& bytes) {
  file_->write(bytes.data(), bytes.size());
  offset_ += bytes.size();
}

void ZipWriter::begin(const std::string& name, uint64_t bytes) {
  finish_member();
  CHECK_LT(members_.size(), 0xffffu);
  members_.push_back({.name = name, .packed_bytes = bytes, .bytes = bytes, .offset = offset_});
  remaining_ = bytes;
  put(local_header(members_.back(), zip64_from_));
}

void ZipWriter::write(const void* from, size_t bytes) {
  CHECK_LE(bytes, remaining_) << path_;
  file_->write(from, bytes);
  uint32_t& crc = members_.back().crc;
  crc = static_cast<uint32_t>(crc32_z(crc, static_cast<const Bytef*>(from), bytes));
  offset_ += bytes;
  remaining_ -= bytes;
}

// The checksum stands before the bytes it covers, so it is filled in afterwards.
void ZipWriter::finish_member() {
  if (members_.empty()) return;
  CHECK_EQ(remaining_, 0u) << path_ << ": " << members_.back().name << " was given fewer bytes than announced";
  const std::string crc = Fields().u32(members_.back().crc).bytes;
  file_->seek(members_.back().offset + kCrcOffset);
  file_->write(crc.data(), crc.size());
  file_->seek(offset_);
}

void ZipWriter::close() {
  finish_member();
  const uint64_t start = offset_;
  for (const ZipMember& member : members_) put(directory_entry(member, zip64_from_));
  put(end_records(members_.size(), start, offset_ - start, zip64_from_));
  file_->close();
  std::error_code error;
  std::filesystem::rename(partial(path_), path_, error);
  if (error) throw IoError("cannot rename '" + partial(path_) + "' to '" + path_ + "': " + error.message());
  file_.reset();
}

}  // namespace shardit

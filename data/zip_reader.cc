#include <zlib.h>

#include <algorithm>
#include <span>
#include <utility>

#include <glog/logging.h>

#include "core/error.h"
#include "data/deflate.h"
#include "data/zip.h"

namespace shardit {
namespace {

constexpr size_t kEndBytes = 22, kLocatorBytes = 20, kEnd64Bytes = 56, kLocalBytes = 30;
constexpr uint32_t kInZip64 = 0xffffffff;  // a 32-bit field whose number stands in the zip64 form

// Takes little-endian fields from bytes; what runs past their end is a damaged file.
class Fields {
 public:
  Fields(std::vector<uint8_t> bytes, const std::string& path) : bytes_(std::move(bytes)), path_(path) {}
  uint16_t u16() { return static_cast<uint16_t>(take(2)); }
  uint32_t u32() { return static_cast<uint32_t>(take(4)); }
  uint64_t u64() { return take(8); }
  std::string text(size_t n) {
    need(n);
    at_ += n;
    return {reinterpret_cast<const char*>(bytes_.data()) + at_ - n, n};
  }
  void skip(size_t n) { text(n); }
  bool empty() const { return at_ == bytes_.size(); }

 private:
  void need(size_t n) const {
    if (n > bytes_.size() - at_) throw IoError("'" + path_ + "' is damaged: a zip record runs past its end");
  }
  uint64_t take(int n) {
    need(n);
    uint64_t v = 0;
    for (int i = 0; i < n; ++i) v |= static_cast<uint64_t>(bytes_[at_++]) << (8 * i);
    return v;
  }
  std::vector<uint8_t> bytes_;
  const std::string& path_;
  size_t at_ = 0;
};

Fields fields_at(File& file, uint64_t offset, uint64_t bytes) {
  if (offset > file.size() || bytes > file.size() - offset)
    throw IoError("'" + file.path() + "' is damaged: a zip record lies beyond its " + std::to_string(file.size()) +
                  " bytes");
  std::vector<uint8_t> raw(bytes);
  file.seek(offset);
  file.read(raw.data(), bytes);
  return {std::move(raw), file.path()};
}

struct Directory {
  uint64_t members = 0, bytes = 0, offset = 0;
  uint64_t end = 0;  // where the record after the directory begins
};

// The end record may only be the last thing in the file: numpy writes no archive comment.
Directory find_directory(File& file) {
  const auto foreign = [&] {
    return IoError("'" + file.path() + "' is no npz file, or is cut short: it does not end with a zip end record");
  };
  if (file.size() < kEndBytes) throw foreign();
  Directory d{.end = file.size() - kEndBytes};
  Fields end = fields_at(file, d.end, kEndBytes);
  if (end.u32() != 0x06054b50) throw foreign();
  end.skip(6);
  d.members = end.u16();
  d.bytes = end.u32();
  d.offset = end.u32();
  if (end.u16() != 0) throw foreign();
  if (d.members != 0xffff && d.bytes != kInZip64 && d.offset != kInZip64) return d;

  if (d.end < kLocatorBytes + kEnd64Bytes) throw foreign();
  Fields locator = fields_at(file, d.end - kLocatorBytes, kLocatorBytes);
  if (locator.u32() != 0x07064b50) throw foreign();
  locator.skip(4);
  d.end = locator.u64();
  Fields end64 = fields_at(file, d.end, kEnd64Bytes);
  if (end64.u32() != 0x06064b50) throw foreign();
  end64.skip(28);
  d.members = end64.u64();
  d.bytes = end64.u64();
  d.offset = end64.u64();
  return d;
}

// Completes the sizes that did not fit their 32-bit fields, in the order of the specification.
void read_zip64_extra(Fields extra, std::span<uint64_t* const> sizes) {
  while (!extra.empty()) {
    const uint16_t id = extra.u16(), bytes = extra.u16();
    if (id != 1) {
      extra.skip(bytes);
      continue;
    }
    for (uint64_t* size : sizes)
      if (*size == kInZip64) *size = extra.u64();
    return;
  }
}

ZipMember read_entry(Fields& f, const std::string& path) {
  ZipMember m;
  if (f.u32() != 0x02014b50) throw IoError("'" + path + "' is damaged: its zip directory holds something else");
  f.skip(4);
  const uint16_t flags = f.u16(), method = f.u16();
  f.skip(4);
  m.crc = f.u32();
  m.packed_bytes = f.u32();
  m.bytes = f.u32();
  const uint16_t name = f.u16(), extra = f.u16(), comment = f.u16();
  f.skip(8);
  m.offset = f.u32();
  m.name = f.text(name);
  const std::string more = f.text(extra);
  f.skip(comment);
  uint64_t* sizes[3] = {&m.bytes, &m.packed_bytes, &m.offset};
  read_zip64_extra(Fields({more.begin(), more.end()}, path), sizes);
  if ((flags & 1) != 0 || (method != 0 && method != 8))
    throw IoError("'" + path + "': member " + m.name + " is encrypted or packed by method " + std::to_string(method) +
                  ": expected stored or deflated, as numpy.savez and savez_compressed write");
  m.deflated = method == 8;
  if (!m.deflated && m.packed_bytes != m.bytes)
    throw IoError("'" + path + "' is damaged: sizes of " + m.name + " differ");
  return m;
}

}  // namespace

// Raw deflate through a buffer of packed bytes.
struct ZipReader::Inflater {
  z_stream stream{};
  std::vector<uint8_t> packed = std::vector<uint8_t>(size_t{1} << 16);
  Inflater() { CHECK_EQ(inflateInit2(&stream, -MAX_WBITS), Z_OK); }
  ~Inflater() { inflateEnd(&stream); }
};

ZipReader::ZipReader(const std::string& path) : file_(path, File::kRead) { read_directory(); }
ZipReader::~ZipReader() = default;

void ZipReader::damaged(const std::string& how) const {
  throw IoError("'" + file_.path() + "' is damaged: " + open_.name + " " + how);
}

void ZipReader::read_directory() {
  const Directory d = find_directory(file_);
  if (d.offset > d.end || d.bytes != d.end - d.offset)
    throw IoError("'" + file_.path() + "' is damaged: its zip directory of " + std::to_string(d.bytes) + " bytes at " +
                  std::to_string(d.offset) + " should end at " + std::to_string(d.end));
  Fields fields = fields_at(file_, d.offset, d.bytes);
  while (!fields.empty()) members_.push_back(read_entry(fields, file_.path()));
  if (members_.size() != d.members)
    throw IoError("'" + file_.path() + "' is damaged: " + std::to_string(members_.size()) +
                  " members in a directory of " + std::to_string(d.members));
}

void ZipReader::open(const ZipMember& member) {
  open_ = member;
  Fields local = fields_at(file_, member.offset, kLocalBytes);
  if (local.u32() != 0x04034b50) damaged("has no local header at byte " + std::to_string(member.offset));
  local.skip(2);
  const bool sizes_follow = (local.u16() & 8) != 0;  // a writer that could not seek back puts them after the data
  local.skip(6);
  ZipMember stated;
  stated.crc = local.u32();
  stated.packed_bytes = local.u32();
  stated.bytes = local.u32();
  const uint16_t name = local.u16(), extra = local.u16();
  Fields variable = fields_at(file_, member.offset + kLocalBytes, uint64_t{name} + extra);
  stated.name = variable.text(name);
  uint64_t* sizes[] = {&stated.bytes, &stated.packed_bytes};
  read_zip64_extra(variable, sizes);
  const bool agree =
      stated.crc == member.crc && stated.packed_bytes == member.packed_bytes && stated.bytes == member.bytes;
  if (stated.name != member.name || !(agree || sizes_follow)) damaged("is described differently in the zip directory");
  const uint64_t start = member.offset + kLocalBytes + name + extra;
  if (start > file_.size() || member.packed_bytes > file_.size() - start) damaged("runs past the end of the file");
  if (member.deflated && member.bytes / kDeflateRatio > member.packed_bytes)
    damaged("says it has " + std::to_string(member.bytes) + " bytes, which " + std::to_string(member.packed_bytes) +
            " packed ones cannot hold");
  file_.seek(start);
  packed_left_ = member.packed_bytes;
  remaining_ = member.bytes;
  crc_ = 0;
  inflater_ = member.deflated ? std::make_unique<Inflater>() : nullptr;
}

void ZipReader::read(void* to, size_t bytes) {
  if (bytes > remaining_) damaged("holds " + std::to_string(open_.bytes) + " bytes, fewer than its contents need");
  if (bytes == 0) return;
  uint8_t* out = static_cast<uint8_t*>(to);
  for (size_t done = 0; done < bytes;) done += unpack(out + done, bytes - done);
  crc_ = static_cast<uint32_t>(crc32_z(crc_, out, bytes));
  remaining_ -= bytes;
  if (remaining_ == 0) check_end();
}

// Gives at most `bytes`, at least one.
size_t ZipReader::unpack(uint8_t* to, size_t bytes) {
  if (!inflater_) {
    file_.read(to, bytes);
    packed_left_ -= bytes;
    return bytes;
  }
  z_stream& stream = inflater_->stream;
  stream.next_out = to;
  const size_t room = std::min(bytes, size_t{1} << 30);
  stream.avail_out = static_cast<uInt>(room);
  while (stream.avail_out == room) {
    if (stream.avail_in == 0 && packed_left_ > 0) {
      const size_t piece = std::min<uint64_t>(packed_left_, inflater_->packed.size());
      file_.read(inflater_->packed.data(), piece);
      packed_left_ -= piece;
      stream.next_in = inflater_->packed.data();
      stream.avail_in = static_cast<uInt>(piece);
    }
    const int status = inflate(&stream, Z_NO_FLUSH);
    if (status != Z_OK && stream.avail_out == room) damaged(stream.msg ? stream.msg : "ends before its stated size");
  }
  return room - stream.avail_out;
}

void ZipReader::check_end() {
  if (inflater_) {
    z_stream& stream = inflater_->stream;
    uint8_t beyond;
    stream.next_out = &beyond;
    stream.avail_out = 1;
    if (inflate(&stream, Z_NO_FLUSH) != Z_STREAM_END || stream.avail_out != 1 || stream.avail_in != 0 ||
        packed_left_ != 0)
      damaged("does not end where its stated size says");
  }
  if (crc_ != open_.crc) damaged("does not match its checksum");
}

}  // namespace shardit

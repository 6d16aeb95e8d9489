// Zip files as npz needs them (PKWARE APPNOTE 6.3): members stored, or deflated when read; zip64 where a size or offset
// needs it; no encryption, one disk. Both ends stream: no member is ever whole in memory.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "data/file.h"

namespace shardit {

struct ZipMember {
  std::string name;
  bool deflated = false;
  uint32_t crc = 0;
  uint64_t packed_bytes = 0, bytes = 0;
  uint64_t offset = 0;  // of its local header
};

// Writes PATH.partial and renames it to PATH in close(), so that PATH is always whole. Throws IoError.
class ZipWriter {
 public:
  // Sizes and offsets of at least `zip64_from` are written in zip64 form; tests lower it.
  explicit ZipWriter(const std::string& path, uint64_t zip64_from = 0xffffffff);
  ~ZipWriter();  // without close(), removes the partial file

  void begin(const std::string& name, uint64_t bytes);  // REQUIRES: the member before has all its bytes
  void write(const void* from, size_t bytes);           // REQUIRES: no more than begin() announced
  void close();

 private:
  void finish_member();
  void put(const std::string& bytes);

  const std::string path_;
  const uint64_t zip64_from_;
  std::unique_ptr<File> file_;
  std::vector<ZipMember> members_;
  uint64_t offset_ = 0, remaining_ = 0;  // bytes written; bytes the current member still lacks
};

// Reads members in sequence: open one, then take its bytes in order. The last byte is given only if the checksum holds.
class ZipReader {
 public:
  explicit ZipReader(const std::string& path);  // throws IoError for a damaged or foreign file
  ~ZipReader();

  const std::vector<ZipMember>& members() const { return members_; }
  void open(const ZipMember& member);
  void read(void* to, size_t bytes);  // exactly `bytes`, or it throws IoError
  uint64_t remaining() const { return remaining_; }

 private:
  struct Inflater;
  [[noreturn]] void damaged(const std::string& how) const;
  void read_directory();
  size_t unpack(uint8_t* to, size_t bytes);
  void check_end();

  File file_;
  std::vector<ZipMember> members_;
  std::unique_ptr<Inflater> inflater_;  // of the open member, if it is deflated
  ZipMember open_;
  uint64_t packed_left_ = 0, remaining_ = 0;
  uint32_t crc_ = 0;
};

}  // namespace shardit

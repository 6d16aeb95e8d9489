// A regular file whose every failure is an IoError that names the path.
#pragma once

#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

namespace shardit {

class File {
 public:
  enum Mode { kRead, kWrite };  // kWrite truncates

  File(const std::string& path, Mode mode);
  ~File();
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  const std::string& path() const { return path_; }
  uint64_t size() const { return size_; }  // bytes when opened
  void seek(uint64_t offset);
  void read(void* to, size_t bytes);                            // exactly `bytes`, or it throws
  void read_at(uint64_t offset, void* to, size_t bytes) const;  // the same from any thread; moves no position
  void write(const void* from, size_t bytes);
  void close();  // throws if buffered bytes could not be written; the destructor cannot

 private:
  [[noreturn]] void fail(const char* doing, int error) const;
  [[noreturn]] void fail_short() const;

  std::string path_;
  std::FILE* file_ = nullptr;
  uint64_t size_ = 0;
};

std::vector<uint8_t> read_file(const std::string& path);

}  // namespace shardit

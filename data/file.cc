#include "data/file.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "core/error.h"

namespace shardit {

File::File(const std::string& path, Mode mode) : path_(path) {
  file_ = std::fopen(path.c_str(), mode == kRead ? "rb" : "wb");
  if (!file_) fail(mode == kRead ? "open" : "create", errno);
  struct stat status;
  const bool known = fstat(fileno(file_), &status) == 0;
  if (!known || !S_ISREG(status.st_mode)) {
    std::fclose(file_);
    throw IoError("cannot use '" + path + "': expected a regular file");
  }
  size_ = static_cast<uint64_t>(status.st_size);
}

File::~File() {
  if (file_) std::fclose(file_);
}

void File::seek(uint64_t offset) {
  if (fseeko(file_, static_cast<off_t>(offset), SEEK_SET) != 0) fail("seek in", errno);
}

void File::read(void* to, size_t bytes) {
  if (std::fread(to, 1, bytes, file_) == bytes) return;
  if (std::ferror(file_)) fail("read", errno);
  fail_short();
}

void File::read_at(uint64_t offset, void* to, size_t bytes) const {
  auto* next = static_cast<uint8_t*>(to);
  while (bytes > 0) {
    const ssize_t got = pread(fileno(file_), next, bytes, static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail("read", errno);
    if (got == 0) fail_short();
    next += got;
    offset += static_cast<uint64_t>(got);
    bytes -= static_cast<size_t>(got);
  }
}

void File::write(const void* from, size_t bytes) {
  if (std::fwrite(from, 1, bytes, file_) != bytes) fail("write", errno);
}

void File::close() {
  if (std::fclose(std::exchange(file_, nullptr)) != 0) fail("write", errno);
}

void File::fail(const char* doing, int error) const {
  throw IoError("cannot " + std::string(doing) + " '" + path_ + "': " + std::strerror(error));
}

void File::fail_short() const {
  throw IoError("'" + path_ + "' is cut short: " + std::to_string(size_) + " bytes, more were expected");
}

std::vector<uint8_t> read_file(const std::string& path) {
  File file(path, File::kRead);
  std::vector<uint8_t> bytes(file.size());
  file.read(bytes.data(), bytes.size());
  return bytes;
}

}  // namespace shardit

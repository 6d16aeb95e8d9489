// The file calls that a save and a load make, as an interface: tests fail or kill each of them.
//
// Nothing is durable until it is synced: a file's bytes by OutputFile::sync, the names in a directory by sync_dir.
// Every error is an IoError that names the call, the path, the system's reason and the likely fix.
// One FileSystem may be used from several threads; one OutputFile by one thread at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/error.h"

namespace shardit {

// A file being written, from its start to its end. Destroying it without close() leaves what was written.
class OutputFile {
 public:
  virtual ~OutputFile() = default;
  virtual void write(const void* data, int64_t bytes) = 0;  // appends
  virtual void sync() = 0;
  virtual void close() = 0;
};

// An existing file, read at any offset.
class InputFile {
 public:
  virtual ~InputFile() = default;
  virtual int64_t size() const = 0;                                 // when it was opened
  virtual void read(int64_t offset, void* dst, int64_t bytes) = 0;  // all of them, or IoError naming the offset
};

enum class PathKind { kMissing, kFile, kDirectory };

class FileSystem {
 public:
  virtual ~FileSystem() = default;
  virtual std::unique_ptr<OutputFile> create(const std::string& path) = 0;  // must not exist yet
  virtual std::unique_ptr<InputFile> open(const std::string& path) = 0;
  virtual PathKind kind(const std::string& path) = 0;
  virtual std::vector<std::string> list(const std::string& dir) = 0;  // names, sorted
  virtual void make_dir(const std::string& path) = 0;                 // its parent must exist
  virtual void sync_dir(const std::string& path) = 0;
  virtual void rename(const std::string& from, const std::string& to) = 0;  // atomic; replaces a file
  virtual void remove_file(const std::string& path) = 0;
  virtual void remove_dir(const std::string& path) = 0;     // must be empty
  virtual int64_t free_bytes(const std::string& path) = 0;  // what this user may still write
};

// The operating system's files.
class PosixFiles : public FileSystem {
 public:
  std::unique_ptr<OutputFile> create(const std::string& path) override;
  std::unique_ptr<InputFile> open(const std::string& path) override;
  PathKind kind(const std::string& path) override;
  std::vector<std::string> list(const std::string& dir) override;
  void make_dir(const std::string& path) override;
  void sync_dir(const std::string& path) override;
  void rename(const std::string& from, const std::string& to) override;
  void remove_file(const std::string& path) override;
  void remove_dir(const std::string& path) override;
  int64_t free_bytes(const std::string& path) override;
};

// "write RUN/x: No space left on device; free space on this disk, …". `error_number` is errno.
IoError io_error(const std::string& call, const std::string& path, int error_number);

// The whole of a small file (a manifest, a nonce), or the creation of one, synced and closed.
std::string read_file(FileSystem& files, const std::string& path);
void write_file(FileSystem& files, const std::string& path, const std::string& bytes);

// Deletes a directory of plain files. `first`, if it is there, goes first.
void remove_tree(FileSystem& files, const std::string& dir, const std::string& first = "");

}  // namespace shardit

// Another file system, seen through: how often files are opened, and how much a call moves.
#pragma once

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "checkpoints/file_system.h"

namespace shardit {

class WatchedFiles : public FileSystem {
 public:
  explicit WatchedFiles(FileSystem& files) : files_(files) {}

  std::map<std::string, int> opened;  // by path
  int most_open = 0;                  // at the same time
  int64_t largest_read = 0, largest_write = 0, bytes_read = 0;

  std::unique_ptr<OutputFile> create(const std::string& path) override {
    return std::make_unique<Output>(*this, files_.create(path));
  }
  std::unique_ptr<InputFile> open(const std::string& path) override {
    ++opened[path];
    return std::make_unique<Input>(*this, files_.open(path));
  }
  PathKind kind(const std::string& path) override { return files_.kind(path); }
  std::vector<std::string> list(const std::string& dir) override { return files_.list(dir); }
  void make_dir(const std::string& path) override { files_.make_dir(path); }
  void sync_dir(const std::string& path) override { files_.sync_dir(path); }
  void rename(const std::string& from, const std::string& to) override { files_.rename(from, to); }
  void remove_file(const std::string& path) override { files_.remove_file(path); }
  void remove_dir(const std::string& path) override { files_.remove_dir(path); }
  int64_t free_bytes(const std::string& path) override { return files_.free_bytes(path); }

 private:
  class Output : public OutputFile {
   public:
    Output(WatchedFiles& watch, std::unique_ptr<OutputFile> file) : watch_(watch), file_(std::move(file)) {}
    void write(const void* data, int64_t bytes) override {
      watch_.largest_write = std::max(watch_.largest_write, bytes);
      file_->write(data, bytes);
    }
    void sync() override { file_->sync(); }
    void close() override { file_->close(); }

   private:
    WatchedFiles& watch_;
    std::unique_ptr<OutputFile> file_;
  };

  class Input : public InputFile {
   public:
    Input(WatchedFiles& watch, std::unique_ptr<InputFile> file) : watch_(watch), file_(std::move(file)) {
      watch_.most_open = std::max(watch_.most_open, ++watch_.open_now_);
    }
    ~Input() override { --watch_.open_now_; }
    int64_t size() const override { return file_->size(); }
    void read(int64_t offset, void* dst, int64_t bytes) override {
      watch_.largest_read = std::max(watch_.largest_read, bytes);
      watch_.bytes_read += bytes;
      file_->read(offset, dst, bytes);
    }

   private:
    WatchedFiles& watch_;
    std::unique_ptr<InputFile> file_;
  };

  FileSystem& files_;
  int open_now_ = 0;
};

}  // namespace shardit

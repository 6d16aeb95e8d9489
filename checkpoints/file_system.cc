#include "checkpoints/file_system.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>

namespace shardit {
namespace {

std::string likely_fix(int error_number) {
  switch (error_number) {
    case ENOSPC:
      return "free space on this disk (old checkpoints, quarantine-* directories) or use another";
    case EFBIG:
      return "a file may not grow that large here: raise `ulimit -f`, or use another file system";
    case EDQUOT:
      return "your disk quota is used up: delete old checkpoints or ask for more";
    case EACCES:
    case EPERM:
      return "check the owner and the permissions of the path";
    case EROFS:
      return "the file system is mounted read-only: choose another directory";
    case ENOENT:
      return "check the path";
    case EEXIST:
      return "another program writes here, or a file of this name was left over";
    case EIO:
      return "the disk or its network is failing: see the kernel log";
    case EMFILE:
    case ENFILE:
      return "too many open files: raise `ulimit -n`";
    case EINVAL:
      return "the file system may not support this call: use another for the run directory";
    default:
      return "";
  }
}

// An open file descriptor. The destructor closes it and drops the error: close() is for those who must know.
class Descriptor {
 public:
  Descriptor(const char* call, const std::string& path, int flags) : path_(path) {
    fd_ = ::open(path.c_str(), flags | O_CLOEXEC, 0666);
    if (fd_ < 0) throw io_error(call, path, errno);
  }
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;

  int fd() const { return fd_; }
  const std::string& path() const { return path_; }
  void sync() {
    if (::fsync(fd_) != 0) throw io_error("fsync", path_, errno);
  }
  void close() {
    const int result = ::close(fd_);
    fd_ = -1;
    if (result != 0) throw io_error("close", path_, errno);
  }

 private:
  std::string path_;
  int fd_ = -1;
};

class PosixOutput : public OutputFile {
 public:
  explicit PosixOutput(const std::string& path) : file_("create", path, O_WRONLY | O_CREAT | O_EXCL) {}
  void write(const void* data, int64_t bytes) override {
    const char* from = static_cast<const char*>(data);
    while (bytes > 0) {
      const ssize_t done = ::write(file_.fd(), from, bytes);
      if (done < 0 && errno == EINTR) continue;
      if (done < 0) throw io_error("write", file_.path(), errno);
      from += done;
      bytes -= done;
      written_ += done;
      start_writeback();
    }
  }
  void sync() override { file_.sync(); }
  void close() override { file_.close(); }

 private:
  // The disk works while the caller prepares the next bytes; fsync then waits for the last of them only. A hint: a file
  // system that refuses it writes at fsync, and an error of the disk is told by fsync all the same.
  void start_writeback() {
    constexpr int64_t kEnough = 8 << 20;  // of one request: large for a disk, small beside a file
    if (written_ - started_ < kEnough) return;
    ::sync_file_range(file_.fd(), started_, written_ - started_, SYNC_FILE_RANGE_WRITE);
    started_ = written_;
  }

  Descriptor file_;
  int64_t written_ = 0, started_ = 0;  // bytes; of them on their way to the disk
};

class PosixInput : public InputFile {
 public:
  explicit PosixInput(const std::string& path) : file_("open", path, O_RDONLY) {
    struct stat status;
    if (::fstat(file_.fd(), &status) != 0) throw io_error("fstat", path, errno);
    size_ = status.st_size;
  }
  int64_t size() const override { return size_; }
  void read(int64_t offset, void* dst, int64_t bytes) override {
    char* to = static_cast<char*>(dst);
    while (bytes > 0) {
      const ssize_t done = ::pread(file_.fd(), to, bytes, offset);
      if (done < 0 && errno == EINTR) continue;
      if (done < 0) throw io_error("read", file_.path(), errno);
      if (done == 0) throw IoError("read " + file_.path() + ": the file ends at byte " + std::to_string(offset));
      to += done;
      offset += done;
      bytes -= done;
    }
  }

 private:
  Descriptor file_;
  int64_t size_ = 0;
};

void check(int result, const char* call, const std::string& path) {
  if (result != 0) throw io_error(call, path, errno);
}

}  // namespace

IoError io_error(const std::string& call, const std::string& path, int error_number) {
  const std::string fix = likely_fix(error_number);
  return IoError(call + " " + path + ": " + std::strerror(error_number) + (fix.empty() ? "" : "\n" + fix));
}

std::unique_ptr<OutputFile> PosixFiles::create(const std::string& path) { return std::make_unique<PosixOutput>(path); }

std::unique_ptr<InputFile> PosixFiles::open(const std::string& path) { return std::make_unique<PosixInput>(path); }

PathKind PosixFiles::kind(const std::string& path) {
  struct stat status;
  if (::stat(path.c_str(), &status) == 0) return S_ISDIR(status.st_mode) ? PathKind::kDirectory : PathKind::kFile;
  if (errno == ENOENT || errno == ENOTDIR) return PathKind::kMissing;
  throw io_error("stat", path, errno);
}

std::vector<std::string> PosixFiles::list(const std::string& dir) {
  std::error_code error;
  std::vector<std::string> names;
  std::filesystem::directory_iterator entry(dir, error), end;
  for (; !error && entry != end; entry.increment(error)) names.push_back(entry->path().filename().string());
  if (error) throw io_error("list", dir, error.value());
  std::sort(names.begin(), names.end());
  return names;
}

void PosixFiles::make_dir(const std::string& path) { check(::mkdir(path.c_str(), 0777), "mkdir", path); }

void PosixFiles::sync_dir(const std::string& path) {
  Descriptor dir("open", path, O_RDONLY | O_DIRECTORY);
  dir.sync();
}

void PosixFiles::rename(const std::string& from, const std::string& to) {
  check(::rename(from.c_str(), to.c_str()), "rename", from + " to " + to);
}

void PosixFiles::remove_file(const std::string& path) { check(::unlink(path.c_str()), "unlink", path); }

void PosixFiles::remove_dir(const std::string& path) { check(::rmdir(path.c_str()), "rmdir", path); }

int64_t PosixFiles::free_bytes(const std::string& path) {
  struct statvfs status;
  check(::statvfs(path.c_str(), &status), "statvfs", path);
  return static_cast<int64_t>(status.f_bavail) * static_cast<int64_t>(status.f_frsize);
}

std::string read_file(FileSystem& files, const std::string& path) {
  const std::unique_ptr<InputFile> file = files.open(path);
  std::string bytes(file->size(), '\0');
  file->read(0, bytes.data(), file->size());
  return bytes;
}

void write_file(FileSystem& files, const std::string& path, const std::string& bytes) {
  const std::unique_ptr<OutputFile> file = files.create(path);
  file->write(bytes.data(), bytes.size());
  file->sync();
  file->close();
}

void remove_tree(FileSystem& files, const std::string& dir, const std::string& first) {
  if (!first.empty() && files.kind(dir + "/" + first) == PathKind::kFile) files.remove_file(dir + "/" + first);
  for (const std::string& name : files.list(dir)) files.remove_file(dir + "/" + name);
  files.remove_dir(dir);
}

}  // namespace shardit

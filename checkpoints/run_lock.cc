#include "checkpoints/run_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <random>

#include "core/error.h"

namespace shardit {
namespace {

std::string host_name() {
  char text[256] = "";
  ::gethostname(text, sizeof text - 1);
  return text;
}

std::string first_bytes(int fd) {
  char text[300];
  const ssize_t bytes = ::pread(fd, text, sizeof text, 0);
  std::string owner(text, bytes > 0 ? bytes : 0);
  while (!owner.empty() && owner.back() == '\n') owner.pop_back();
  return owner.empty() ? "unknown process" : owner;
}

void write_owner(int fd, const std::string& path) {
  const std::string owner = "pid " + std::to_string(::getpid()) + " on " + host_name() + "\n";
  if (::ftruncate(fd, 0) != 0) throw io_error("truncate", path, errno);
  if (::pwrite(fd, owner.data(), owner.size(), 0) != static_cast<ssize_t>(owner.size()))
    throw io_error("write", path, errno);
}

}  // namespace

RunLock::RunLock(const std::string& run_dir) {
  const std::string path = run_dir + "/lock";
  fd_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (fd_ < 0) throw io_error("open", path, errno);
  try {
    if (::flock(fd_, LOCK_EX | LOCK_NB) != 0) {
      if (errno != EWOULDBLOCK) throw io_error("flock", path, errno);
      throw UserError("another run is using " + run_dir + " (" + first_bytes(fd_) +
                      ")\nwait for it, stop it, or choose another --run-dir");
    }
    write_owner(fd_, path);
  } catch (...) {
    ::close(fd_);
    throw;
  }
}

RunLock::~RunLock() { ::close(fd_); }

std::string write_nonce(FileSystem& files, const std::string& run_dir) {
  const std::string path = run_dir + "/nonce", fresh = path + ".new";
  std::random_device device;
  char nonce[33];
  std::snprintf(nonce, sizeof nonce, "%08x%08x%08x%08x", device(), device(), device(), device());
  if (files.kind(fresh) != PathKind::kMissing) files.remove_file(fresh);
  write_file(files, fresh, nonce);
  files.rename(fresh, path);
  files.sync_dir(run_dir);
  return nonce;
}

void check_nonce(FileSystem& files, const std::string& run_dir, const std::string& expected) {
  const std::string path = run_dir + "/nonce";
  const bool there = files.kind(path) == PathKind::kFile;
  REQUIRE(there && read_file(files, path) == expected, "the run directory is not shared: " + run_dir + " on " +
                                                           host_name() + (there ? " has another" : " has no") +
                                                           " nonce\nput it on a file system that all nodes mount");
}

}  // namespace shardit

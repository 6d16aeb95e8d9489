// One run directory, one run: a lock, and a nonce that shows whether all ranks see the same directory.
#pragma once

#include <string>

#include "checkpoints/file_system.h"

namespace shardit {

// Holds RUN/lock (flock) until it is destroyed or the process ends, however it ends. The file stays: deleting it would
// let two runs hold two locks. A second run gets a UserError with the first one's host and process.
class RunLock {
 public:
  explicit RunLock(const std::string& run_dir);  // RUN must exist
  ~RunLock();
  RunLock(const RunLock&) = delete;
  RunLock& operator=(const RunLock&) = delete;

 private:
  int fd_ = -1;
};

// Rank 0, under the lock: writes a fresh random RUN/nonce and returns it, to be sent to all ranks.
std::string write_nonce(FileSystem& files, const std::string& run_dir);

// Every rank: UserError "the run directory is not shared" unless it reads the same nonce.
void check_nonce(FileSystem& files, const std::string& run_dir, const std::string& expected);

}  // namespace shardit

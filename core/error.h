// Errors by whose fault they are; `launcher/` catches them in one place and turns the kind into the exit code.
//
//   UserError     a config, a flag, a shape given by the user        exit 2
//   DeviceError   CUDA, the driver, an allocation                    exit 3
//   CommError     MPI, NCCL, a lost rank                             exit 3
//   IoError       the disk, the file system, corrupt or foreign data exit 4
//   StopError     training stopped itself                            exit 5
//
// What goes wrong on one rank ends all: either all throw the same error (dist/agree.h), or the rank aborts the job.
//
// A message says what was given, what was expected, and the likely fix, in at most three lines.
// Our own mistakes are glog CHECKs: they abort with the place, in release builds too.
#pragma once

#include <stdexcept>
#include <string>

namespace shardit {

struct Error : std::runtime_error {
  Error(const std::string& message, int exit_code) : std::runtime_error(message), exit_code(exit_code) {}
  int exit_code;
  bool everywhere = false;  // every rank of the job throws it, and rank 0 alone tells it
};

struct UserError : Error {
  explicit UserError(const std::string& m) : Error(m, 2) {}
};
struct DeviceError : Error {
  explicit DeviceError(const std::string& m) : Error(m, 3) {}
};
struct CommError : Error {
  explicit CommError(const std::string& m) : Error(m, 3) {}
};
struct IoError : Error {
  explicit IoError(const std::string& m) : Error(m, 4) {}
};
struct StopError : Error {
  explicit StopError(const std::string& m) : Error(m, 5) {}
};

// The user's mistake, found while building: throws UserError. `message` is only evaluated on failure.
#define REQUIRE(condition, message)                        \
  do {                                                     \
    if (!(condition)) throw ::shardit::UserError(message); \
  } while (false)

}  // namespace shardit

// Runs the built program as a user does, in a folder of the test's own: arguments in, exit code and texts out.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "tests/launcher/test_folder.h"

namespace shardit {

using Words = std::vector<std::string>;

// What the process gets beside its arguments.
struct Surroundings {
  std::map<std::string, std::string> environment = {};
  int64_t largest_file_bytes = 0;  // 0: no limit
  int user = 0;                    // 0: this one
  int ranks = 0;                   // under mpirun, so many; 0: alone
  Words wrapper = {};              // starts the program, whose command line follows
};

struct Ran {
  int code = 0;  // exit code, or 128 + the signal that ended it
  std::string out, err;
};

// A process that goes on while the test looks at its files.
class Started {
 public:
  explicit Started(const Words& arguments, const Surroundings& surroundings = {});
  ~Started();  // kills it if nobody waited
  Started(const Started&) = delete;

  void send(int signal_number) const;
  int pid() const { return pid_; }
  std::vector<int> ranks() const;  // process numbers of what mpirun started
  bool running();
  int64_t peak_memory_bytes() const;  // so far; 0 if it has ended
  Ran wait();

 private:
  int pid_ = -1, status_ = 0;
  bool ended_ = false;
  std::string out_, err_;  // files
};

std::vector<int> children_of(int pid);

Ran run(const Words& arguments, const Surroundings& surroundings = {});

// configs/equality-tiny.textproto of this checkout.
std::string tiny_config();

// `shardit train` of the tiny config in this run directory, with more flags.
Words training(const std::string& run_dir, const Words& more = {});
Ran train(const std::string& run_dir, const Words& more = {}, const Surroundings& surroundings = {});

// The root digest of a run's newest checkpoint; fails the test if there is none.
std::string digest_of(const std::string& run_dir);
// That of a fresh run with these flags.
std::string digest_after(const Words& flags, const Surroundings& surroundings = {});

std::string checkpoint_path(const std::string& run_dir, int step);
bool exists(const std::string& path);
std::string bytes_of_file(const std::string& path);
void write_bytes(const std::string& path, const std::string& bytes);
void flip_byte(const std::string& path, size_t at);

// Lines of a run's metrics.jsonl that are steps; 0 if there is no such file yet.
int steps_logged(const std::string& run_dir);
// Waits until the run has logged that many; false after a minute.
bool wait_for_steps(const std::string& run_dir, int steps);

testing::AssertionResult contains(const std::string& text, const std::string& part);

// The contract of an error: this exit code, one to three lines on standard error that begin with the program's name,
// and these words in it.
testing::AssertionResult fails(const Ran& ran, int code, const Words& words);

// Exit code 0 and nothing on standard error.
testing::AssertionResult succeeds(const Ran& ran);

}  // namespace shardit

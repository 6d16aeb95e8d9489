#include "checkpoints/run_lock.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <optional>

#include "tests/checkpoints/expect_error.h"
#include "tests/checkpoints/faulty_files.h"
#include "tests/checkpoints/temporary_dir.h"

namespace shardit {
namespace {

TEST(RunLock, KeepsASecondRunOutAndNamesTheFirst) {
  TemporaryDir dir;
  std::optional<RunLock> first(dir.path());
  const std::string message = error_of<UserError>([&] { RunLock second(dir.path()); });
  EXPECT_HAS(message, "another run is using " + dir.path() + " (pid " + std::to_string(::getpid()) + " on ");
  first.reset();
  RunLock second(dir.path());
}

TEST(RunLock, IsFreeWhenItsProcessWasKilled) {
  TemporaryDir dir;
  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    RunLock lock(dir.path());
    if (::write(ready[1], "x", 1) != 1) ::_exit(1);
    for (;;) ::pause();
  }
  char byte;
  ASSERT_EQ(::read(ready[0], &byte, 1), 1);
  EXPECT_HAS(error_of<UserError>([&] { RunLock lock(dir.path()); }), "pid " + std::to_string(child));
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  RunLock lock(dir.path());
  for (int end : ready) ::close(end);
}

TEST(RunLock, InAMissingDirectoryIsAnIoError) {
  EXPECT_HAS(error_of<IoError>([] { RunLock lock("/nowhere/at/all"); }), "open /nowhere/at/all/lock: No such file");
}

TEST(Nonce, IsFreshEachTimeAndSeenByWhoReadsTheDirectory) {
  FaultyFiles files;
  files.make_dir("run");
  const std::string first = write_nonce(files, "run"), second = write_nonce(files, "run");
  EXPECT_EQ(second.size(), 32u);
  EXPECT_NE(first, second);
  check_nonce(files, "run", second);
}

TEST(Nonce, TellsThatADirectoryIsNotShared) {
  FaultyFiles files;
  files.make_dir("run");
  EXPECT_HAS(error_of<UserError>([&] { check_nonce(files, "run", "x"); }), "the run directory is not shared: run");
  write_nonce(files, "run");
  EXPECT_HAS(error_of<UserError>([&] { check_nonce(files, "run", "x"); }), "has another nonce");
}

}  // namespace
}  // namespace shardit

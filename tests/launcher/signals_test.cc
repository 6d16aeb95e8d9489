#include "launcher/signals.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

namespace shardit {
namespace {

// Runs `body` in a child, so that a deadly signal is not ours; returns what waitpid says.
template <typename Body> int status_of_child(Body&& body) {
  const pid_t child = fork();
  if (child == 0) {
    forget_stop_signals();
    catch_stop_signals(false);
    _exit(body());
  }
  int status = 0;
  waitpid(child, &status, 0);
  return status;
}

TEST(Signals, TheFirstOnlySetsAFlag) {
  for (int signal_number : {SIGTERM, SIGINT, SIGUSR1}) {
    const int status = status_of_child([&] {
      const bool before = stop_requested();
      raise(signal_number);
      return !before && stop_requested() && stop_signal() == signal_number ? 7 : 1;
    });
    ASSERT_TRUE(WIFEXITED(status)) << signal_number;
    EXPECT_EQ(WEXITSTATUS(status), 7) << signal_number;
  }
}

TEST(Signals, ASecondUrgentOneEndsTheProcessAtOnce) {
  for (const auto& [first, second] :
       {std::pair{SIGTERM, SIGTERM}, std::pair{SIGINT, SIGINT}, std::pair{SIGTERM, SIGINT}}) {
    const int status = status_of_child([&] {
      raise(first);
      raise(second);
      return 0;
    });
    ASSERT_TRUE(WIFSIGNALED(status));
    EXPECT_EQ(WTERMSIG(status), second);
  }
}

TEST(Signals, TheEarlyWarningNeverEndsTheProcess) {
  const int status = status_of_child([] {
    for (int i = 0; i < 3; ++i) raise(SIGUSR1);
    raise(SIGTERM);  // the batch system's own, while the run still saves
    return stop_signal() == SIGUSR1 ? 7 : 1;
  });
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 7);
}

TEST(Signals, OneRankAnnouncesTheStop) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  const int status = status_of_child([&] {
    dup2(ends[1], STDERR_FILENO);
    raise(SIGTERM);  // a rank that is not to speak
    forget_stop_signals();
    catch_stop_signals(true);
    raise(SIGTERM);
    raise(SIGUSR1);  // heard once is enough
    return 0;
  });
  EXPECT_TRUE(WIFEXITED(status));
  char text[512] = "";
  const ssize_t size = read(ends[0], text, sizeof text - 1);
  EXPECT_EQ(std::string(text, static_cast<size_t>(size)),
            "\nstopping: this step is finished and saved first; a second signal stops at once\n");
  close(ends[0]);
  close(ends[1]);
}

}  // namespace
}  // namespace shardit

#include "launcher/signals.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>

#include "core/error.h"

namespace shardit {
namespace {

std::atomic<int> first_signal{0};
std::atomic<int> urgent_signals{0};  // SIGTERM and SIGINT
std::atomic<bool> announces{false};
static_assert(std::atomic<int>::is_always_lock_free, "a signal handler may touch lock-free atomics only");

// Calls only what POSIX allows in a signal handler: write, signal, raise.
void handle(int signal_number) {
  const int saved_errno = errno;
  int none = 0;
  const bool first = first_signal.compare_exchange_strong(none, signal_number);
  const bool urgent = signal_number != SIGUSR1;
  if (urgent && urgent_signals.fetch_add(1) >= 1) {
    signal(signal_number, SIG_DFL);
    raise(signal_number);  // delivered as soon as this handler returns
  } else if (first && announces) {
    static const char text[] = "\nstopping: this step is finished and saved first; a second signal stops at once\n";
    [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, text, sizeof text - 1);
  }
  errno = saved_errno;
}

}  // namespace

void catch_stop_signals(bool announce) {
  announces = announce;
  struct sigaction action = {};
  action.sa_handler = handle;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  for (int signal_number : {SIGTERM, SIGINT, SIGUSR1})
    if (sigaction(signal_number, &action, nullptr) != 0)
      throw IoError("sigaction of " + std::string(strsignal(signal_number)) + " failed: " + strerror(errno));
}

bool stop_requested() { return first_signal != 0; }
int stop_signal() { return first_signal; }

void forget_stop_signals() {
  first_signal = 0;
  urgent_signals = 0;
}

}  // namespace shardit

#include "launcher/launch.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <iostream>

#include "checkpoints/directory.h"
#include "core/error.h"
#include "dist/nccl_wire.h"
#include "dist/share_gpu.h"
#include "launcher/launch_command.h"
#include "launcher/progress.h"
#include "launcher/run_folder.h"

namespace shardit {
namespace {

constexpr int kDone = 0, kFault = 3, kHang = 6, kSignalled = 128;
// mpirun's code for a program that is not there; also SIGILL, a program that was built for another CPU.
constexpr int kNoSuchProgram = 132;
constexpr int kLostNode = 205;                              // mpirun's code where its daemon on another node is gone
constexpr double kFirstPause_s = 1, kLongestPause_s = 300;  // doubles as long as no checkpoint is made
// Ranks that lose mpirun end when they notice, after some 2.5 s; until then they hold the run's lock.
constexpr double kOrphansEnd_s = 5;
constexpr double kGrace_s = 10;  // of a job that was told to end at once
// mpirun forgets a signal that comes before it has started its ranks; to ranks that heard it, another says nothing new.
constexpr double kRepeat_s = 1;

void say(const std::string& text) { std::cerr << "launch: " << text << std::endl; }

// The signals that launch waits for, blocked so that they stay until it looks.
class Signals {
 public:
  Signals() {
    sigemptyset(&set_);
    for (int number : {SIGTERM, SIGINT, SIGUSR1, SIGCHLD}) sigaddset(&set_, number);
    sigprocmask(SIG_BLOCK, &set_, &before_);
  }
  ~Signals() { sigprocmask(SIG_SETMASK, &before_, nullptr); }
  Signals(const Signals&) = delete;

  void restore_in_child() const { sigprocmask(SIG_SETMASK, &before_, nullptr); }

  // The next one, or 0 after that time.
  int wait(double seconds) const {
    const double end = steady_seconds() + seconds;
    for (;;) {
      const double left = std::max(0.0, end - steady_seconds());
      timespec time{static_cast<time_t>(left),
                    static_cast<long>((left - static_cast<double>(static_cast<time_t>(left))) * 1e9)};
      const int number = sigtimedwait(&set_, nullptr, &time);
      if (number > 0) return number;
      if (errno != EINTR) return 0;
    }
  }

 private:
  sigset_t set_, before_;
};

// In the child: becomes the command, or writes errno to `failed`.
[[noreturn]] void become(const std::vector<std::string>& words, int failed) {
  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGUSR1);
  const int nothing = open("/dev/null", O_RDONLY);  // a process group in the background may not read a terminal
  dup2(nothing, STDIN_FILENO);
  std::vector<char*> argv;
  for (const std::string& word : words) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  execvp(argv[0], argv.data());
  const int error = errno;
  [[maybe_unused]] const ssize_t written = write(failed, &error, sizeof error);
  _exit(127);
}

pid_t start(const std::vector<std::string>& words, const Signals& signals) {
  int pipe_ends[2];
  if (pipe2(pipe_ends, O_CLOEXEC) != 0) throw IoError(std::string("launch: pipe failed: ") + strerror(errno));
  const pid_t child = fork();
  if (child < 0) throw IoError(std::string("launch: fork failed: ") + strerror(errno));
  if (child == 0) {
    signals.restore_in_child();
    become(words, pipe_ends[1]);
  }
  close(pipe_ends[1]);
  int error = 0;
  const bool failed = read(pipe_ends[0], &error, sizeof error) == sizeof error;
  close(pipe_ends[0]);
  if (!failed) return child;
  waitpid(child, nullptr, 0);
  throw UserError("launch: cannot start '" + words[0] + "': " + strerror(error) +
                  "\nis it installed, and on the PATH?");
}

struct End {
  int code = 0;         // as a shell tells it
  bool killed = false;  // mpirun itself, not one of its ranks
};

std::string signal_name(int number) { return std::string("SIG") + sigabbrev_np(number); }

std::string words_for(const End& end) {
  const std::string code = std::to_string(end.code);
  if (end.killed) return code + " (mpirun itself was ended by " + signal_name(end.code - kSignalled) + ")";
  if (end.code == kFault) return code + " (a device or communication fault, or a lost rank)";
  if (end.code == kLostNode) return code + " (mpirun lost a node)";
  if (end.code == kHang) return code + " (a hang)";
  if (end.code > kSignalled && end.code < kSignalled + SIGRTMIN)
    return code + " (a rank ended by " + signal_name(end.code - kSignalled) + ")";
  return code;
}

// What a job leaves behind that shows how far it came.
struct Traces {
  int64_t step = 0;                 // of the newest valid checkpoint
  std::pair<int64_t, int64_t> log;  // when metrics.jsonl was written last, and its size

  static Traces of(const std::string& run_dir) {
    PosixFiles files;
    Traces traces;
    if (const auto newest = find_newest(files, run_dir).checkpoint) traces.step = newest->manifest.run.step;
    std::error_code none;
    const std::string metrics = RunFolder{run_dir}.metrics();
    const auto time = std::filesystem::last_write_time(metrics, none);
    if (!none) traces.log = {time.time_since_epoch().count(), std::filesystem::file_size(metrics, none)};
    return traces;
  }
};

class Launcher {
 public:
  explicit Launcher(const LaunchOptions& options)
      : max_restarts_(options.max_restarts),
        shrink_(options.shrink),
        command_(options.command) {
    REQUIRE(!shrink_ || command_.ranks(),
            "launch: --shrink needs to know how many ranks there are: expected mpirun -np N …");
    if (options.share_gpu) share_gpu();
  }

  int run() {
    for (int restart = 0;; ++restart) {
      const Traces before = Traces::of(command_.run_directory());
      const End end = run_once();
      const Traces after = Traces::of(command_.run_directory());
      const bool began = after.log != before.log;
      if (stopping_) return stop_code(end, began);
      if (!heals(end.code, began)) return end.code;
      if (restart == max_restarts_) {
        if (max_restarts_ > 0)
          say("the job ended with code " + words_for(end) + " after " + std::to_string(restart) +
              " restarts: --max-restarts is reached");
        return end.code;
      }
      if (!prepare_restart(end, restart + 1, after, began)) return end.code;
    }
  }

 private:
  // mpirun hands what is in its environment to the ranks of its own machine.
  void share_gpu() const {
    REQUIRE(built_with_nccl(), "launch: --share-gpu: this build has no NCCL, so jobs of several ranks use no GPU");
    REQUIRE(!command_.on_cpu(), "launch: --share-gpu: the command has device=cpu, on which ranks share no GPU");
    setenv(kShareGpuVariable, "1", 1);
  }

  // Whether starting again may help.
  static bool heals(int code, bool began) {
    if (code == kDone || code == 2 || code == 4 || code == 5) return false;
    if (began) return true;
    return code == kFault || code == kHang || (code > kSignalled && code != kNoSuchProgram);
  }

  End run_once() {
    job_ = start(command_.words(), signals_);
    int status = 0;
    while (waitpid(job_, &status, WNOHANG) != job_) {
      const bool ending = urgent_ >= 2;
      const int number = signals_.wait(ending ? kGrace_s : stopping_ ? kRepeat_s : 3600);
      if (number != 0 && number != SIGCHLD) on_signal(number);
      if (number == 0 && ending) kill(-job_, SIGKILL);
      if (number == 0 && stopping_ && !ending) kill(job_, SIGUSR1);
    }
    if (WIFEXITED(status)) return {.code = WEXITSTATUS(status)};
    return {.code = kSignalled + WTERMSIG(status), .killed = true};
  }

  // That of a job which was to stop. A rank that has not begun to train does not hear SIGUSR1 yet and dies of it, and
  // mpirun may crash as it ends what dies while it connects: there was nothing to save.
  int stop_code(const End& end, bool began) const {
    if (urgent_ >= 2) return kSignalled + last_signal_;
    const bool before_it_began = end.code == kSignalled + SIGUSR1 || (end.killed && !began);
    return before_it_began ? kDone : end.code;
  }

  void on_signal(int number) {
    last_signal_ = number;
    if (number != SIGUSR1) ++urgent_;
    if (urgent_ >= 2) {
      kill(job_, SIGTERM);
    } else if (!stopping_) {
      say(signal_name(number) + ": the ranks finish their step, save and stop; a second signal ends them at once");
      kill(job_, SIGUSR1);
    }
    stopping_ = true;
  }

  // Tells it in a line, waits, and returns whether to go on: no if a signal came.
  bool prepare_restart(const End& end, int number, const Traces& after, bool began) {
    const bool first = number == 1, stuck = !first && after.step <= last_step_;
    last_step_ = after.step;
    pause_s_ = stuck ? std::min(2 * pause_s_, kLongestPause_s) : kFirstPause_s;
    if (end.killed) pause_s_ = std::max(pause_s_, kOrphansEnd_s);
    if (began) command_.resume_newest();
    const std::optional<int> fewer = shrink_ ? command_.fewer_ranks() : std::nullopt;
    if (fewer) command_.set_ranks(*fewer);
    say("the job ended with code " + words_for(end) + "; restart " + std::to_string(number) + " of " +
        std::to_string(max_restarts_) + ranks_text() + ", from step " + std::to_string(after.step) + ", in " +
        std::to_string(static_cast<int>(pause_s_)) + " s" +
        (stuck ? ": no new checkpoint since the failure before, so it waits twice as long" : ""));
    return pause();
  }

  std::string ranks_text() const {
    const std::optional<int> ranks = command_.ranks();
    if (!ranks) return "";
    return " on " + std::to_string(*ranks) + (*ranks == 1 ? " rank" : " ranks");
  }

  bool pause() {
    const double end = steady_seconds() + pause_s_;
    while (steady_seconds() < end) {
      const int number = signals_.wait(end - steady_seconds());
      if (number == 0 || number == SIGCHLD) continue;
      say(signal_name(number) + " while no job was running: not restarted");
      return false;
    }
    return true;
  }

  const int max_restarts_;
  const bool shrink_;
  LaunchCommand command_;
  Signals signals_;
  pid_t job_ = -1;
  bool stopping_ = false;  // one of the signals came
  int urgent_ = 0;         // SIGTERMs and SIGINTs; SIGUSR1 is an early warning (launcher/signals.h)
  int last_signal_ = 0;
  double pause_s_ = kFirstPause_s;
  int64_t last_step_ = 0;
};

}  // namespace

int launch(const LaunchOptions& options) { return Launcher(options).run(); }

}  // namespace shardit

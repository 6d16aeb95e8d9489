#include "tests/cli/program.h"

#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

namespace shardit {
namespace {

namespace fs = std::filesystem;

std::string new_output_file() {
  std::string path = (fs::temp_directory_path() / "shardit-output-XXXXXX").string();
  const int fd = mkstemp(path.data());
  EXPECT_GE(fd, 0) << path;
  close(fd);
  return path;
}

void redirect(const std::string& path, int to) {
  const int fd = open(path.c_str(), O_WRONLY | O_TRUNC);
  dup2(fd, to);
  close(fd);
}

// More ranks than cores, on any machine, as root too.
Words mpirun(int ranks) {
  setenv("OMPI_ALLOW_RUN_AS_ROOT", "1", 1);
  setenv("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1", 1);
  return {"mpirun", "--oversubscribe",    "--bind-to", "none", "--mca", "mpi_yield_when_idle", "1",
          "-np",    std::to_string(ranks)};
}

[[noreturn]] void become(const Words& arguments, const Surroundings& s) {
  setenv("OMP_NUM_THREADS", "1", 1);
  for (const auto& [name, value] : s.environment) setenv(name.c_str(), value.c_str(), 1);
  if (s.largest_file_bytes > 0) {
    const rlimit limit{static_cast<rlim_t>(s.largest_file_bytes), static_cast<rlim_t>(s.largest_file_bytes)};
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  if (s.user != 0 && (setgroups(0, nullptr) != 0 || setgid(s.user) != 0 || setuid(s.user) != 0)) _exit(126);
  Words words = s.ranks > 0 ? mpirun(s.ranks) : Words{};
  words.insert(words.end(), s.wrapper.begin(), s.wrapper.end());
  words.push_back(SHARDIT_PROGRAM);
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (const std::string& word : words) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  execvp(argv[0], argv.data());
  _exit(127);
}

int line_count(const std::string& text) { return static_cast<int>(std::count(text.begin(), text.end(), '\n')); }

std::string all_of(const Ran& ran) {
  return "exit code " + std::to_string(ran.code) + "\n--- out\n" + ran.out + "--- err\n" + ran.err;
}

}  // namespace

Started::Started(const Words& arguments, const Surroundings& surroundings)
    : out_(new_output_file()),
      err_(new_output_file()) {
  pid_ = fork();
  if (pid_ != 0) return;
  redirect(out_, STDOUT_FILENO);
  redirect(err_, STDERR_FILENO);
  become(arguments, surroundings);
}

Started::~Started() {
  if (!ended_) {
    kill(pid_, SIGKILL);
    waitpid(pid_, &status_, 0);
  }
  fs::remove(out_);
  fs::remove(err_);
}

void Started::send(int signal_number) const { kill(pid_, signal_number); }

std::vector<int> Started::ranks() const { return children_of(pid_); }

std::vector<int> children_of(int pid) {
  std::vector<int> found;
  std::ifstream children("/proc/" + std::to_string(pid) + "/task/" + std::to_string(pid) + "/children");
  for (int child; children >> child;) found.push_back(child);
  return found;
}

bool Started::running() {
  if (!ended_) ended_ = waitpid(pid_, &status_, WNOHANG) == pid_;
  return !ended_;
}

int64_t Started::peak_memory_bytes() const {
  std::ifstream status("/proc/" + std::to_string(pid_) + "/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with("VmHWM:")) return std::stoll(line.substr(6)) * 1024;
  return 0;
}

Ran Started::wait() {
  if (!ended_) waitpid(pid_, &status_, 0);
  ended_ = true;
  const int code = WIFEXITED(status_) ? WEXITSTATUS(status_) : 128 + WTERMSIG(status_);
  return {code, bytes_of_file(out_), bytes_of_file(err_)};
}

Ran run(const Words& arguments, const Surroundings& surroundings) { return Started(arguments, surroundings).wait(); }

std::string tiny_config() { return std::string(SHARDIT_CHECKOUT) + "/configs/equality-tiny.textproto"; }

Words training(const std::string& run_dir, const Words& more) {
  Words words = {"train", tiny_config(), "--run-dir", run_dir};
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

Ran train(const std::string& run_dir, const Words& more, const Surroundings& surroundings) {
  return run(training(run_dir, more), surroundings);
}

std::string digest_of(const std::string& run_dir) {
  const Ran ran = run({"checkpoint", "inspect", run_dir, "--digest"});
  EXPECT_EQ(ran.code, 0) << all_of(ran);
  EXPECT_TRUE(ran.out.starts_with("digest ") && ran.out.size() == 7 + 32 + 1) << ran.out;
  return ran.out;
}

std::string digest_after(const Words& flags, const Surroundings& surroundings) {
  const TestFolder folder;
  const std::string run_dir = folder / "run";
  const Ran ran = train(run_dir, flags, surroundings);
  EXPECT_TRUE(succeeds(ran));
  return digest_of(run_dir);
}

std::string checkpoint_path(const std::string& run_dir, int step) {
  char name[32];
  std::snprintf(name, sizeof name, "/step-%08d", step);
  return run_dir + "/checkpoints" + name;
}

bool exists(const std::string& path) { return fs::exists(path); }

std::string bytes_of_file(const std::string& path) {
  std::ostringstream bytes;
  bytes << std::ifstream(path, std::ios::binary).rdbuf();
  return bytes.str();
}

void write_bytes(const std::string& path, const std::string& bytes) { std::ofstream(path, std::ios::binary) << bytes; }

void flip_byte(const std::string& path, size_t at) {
  std::string bytes = bytes_of_file(path);
  ASSERT_LT(at, bytes.size()) << path;
  bytes[at] ^= 1;
  write_bytes(path, bytes);
}

int steps_logged(const std::string& run_dir) {
  std::ifstream file(run_dir + "/metrics.jsonl");
  int steps = 0;
  for (std::string line; std::getline(file, line);) steps += line.starts_with("{\"step\"");
  return steps;
}

bool wait_for_steps(const std::string& run_dir, int steps) {
  for (int i = 0; i < 12000; ++i) {
    if (steps_logged(run_dir) >= steps) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return false;
}

testing::AssertionResult contains(const std::string& text, const std::string& part) {
  if (text.find(part) != std::string::npos) return testing::AssertionSuccess();
  return testing::AssertionFailure() << "no '" << part << "' in:\n" << text;
}

testing::AssertionResult fails(const Ran& ran, int code, const Words& words) {
  if (ran.code != code) return testing::AssertionFailure() << "expected exit code " << code << ", got " << all_of(ran);
  if (line_count(ran.err) < 1 || line_count(ran.err) > 3 || !ran.err.starts_with("shardit: "))
    return testing::AssertionFailure() << "expected one to three lines on standard error: " << all_of(ran);
  for (const std::string& word : words)
    if (const auto found = contains(ran.err, word); !found) return found;
  return testing::AssertionSuccess();
}

testing::AssertionResult succeeds(const Ran& ran) {
  if (ran.code == 0 && ran.err.empty()) return testing::AssertionSuccess();
  return testing::AssertionFailure() << "expected exit code 0 and no complaint: " << all_of(ran);
}

}  // namespace shardit

#include "launcher/mpirun.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "core/error.h"
#include "launcher/machine.h"

namespace shardit {
namespace {

constexpr int kNotFound = 127;  // as a shell says it

UserError no_mpirun(int error_number) {
  return UserError(std::string("cannot start mpirun: ") + std::strerror(error_number) +
                   "\nput it into PATH, or start this command under the launcher of your cluster");
}

void exec(const std::vector<std::string>& command) {
  std::vector<char*> argv;
  for (const std::string& word : command) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  execvp(argv[0], argv.data());
}

int wait_for(pid_t child) {
  int status = 0;
  while (waitpid(child, &status, 0) < 0)
    if (errno != EINTR) return kNotFound;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace

std::vector<std::string> mpirun_command(int ranks, const std::vector<std::string>& arguments) {
  std::vector<std::string> command = {"mpirun"};
  if (geteuid() == 0) command.push_back("--allow-run-as-root");
  if (ranks > look_at_machine(".").cores) command.push_back("--oversubscribe");
  command.insert(command.end(), {"--bind-to", "none", "--mca", "mpi_yield_when_idle", "1", "-np", std::to_string(ranks),
                                 std::filesystem::read_symlink("/proc/self/exe").string()});
  command.insert(command.end(), arguments.begin(), arguments.end());
  return command;
}

void become_mpirun(int ranks, const std::vector<std::string>& arguments) {
  exec(mpirun_command(ranks, arguments));
  throw no_mpirun(errno);
}

void run_under_mpirun(int ranks, const std::vector<std::string>& arguments) {
  const std::vector<std::string> command = mpirun_command(ranks, arguments);
  const pid_t child = fork();
  if (child == 0) {
    if (const int nowhere = open("/dev/null", O_WRONLY); nowhere >= 0) dup2(nowhere, STDOUT_FILENO);
    exec(command);
    _exit(kNotFound);
  }
  if (child < 0) throw no_mpirun(errno);
  const int code = wait_for(child);
  if (code == kNotFound) throw no_mpirun(ENOENT);
  if (code != 0) throw Error("", code);
}

}  // namespace shardit

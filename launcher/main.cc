#include <glog/logging.h>

#include <csignal>

#include "launcher/commands/commands.h"

int main(int argc, char** argv) {
  FLAGS_logtostderr = true;
  google::InitGoogleLogging(argv[0]);
  std::signal(SIGXFSZ, SIG_IGN);  // a file that grows too large is an error of write, with a message, not a sudden end
  std::signal(SIGPIPE, SIG_IGN);  // who reads the log (head, tee, a terminal) may go away; the training stays
  using namespace shardit;
  return run_command_line(
      argc, argv,
      {add_train_command, add_launch_command, add_sample_command, add_checkpoint_command, add_parity_command,
       add_plan_command, add_bench_command, add_data_command, add_report_command, add_doctor_command});
}

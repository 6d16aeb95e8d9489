#include <glog/logging.h>

#include "launcher/commands/commands.h"

int main(int argc, char** argv) {
  FLAGS_logtostderr = true;
  google::InitGoogleLogging(argv[0]);
  return shardit::run_command_line(argc, argv, {shardit::add_report_command, shardit::add_doctor_command});
}

// What a training run says of itself before its first step: two lines of the log and the event "start".
#pragma once

#include <string>

#include "core/program.h"
#include "data/dataset.h"
#include "launcher/run_log.h"
#include "launcher/run_setup.h"

namespace shardit {

struct RunStart {
  const RunConfig& config;
  const RunSetup& setup;
  const Program& program;
  const Dataset& data;
  std::string device, run_dir;
  int ranks = 1, threads = 1;  // compute threads of a rank
};

void tell_start(RunLog& log, int64_t step, const RunStart& start);

}  // namespace shardit

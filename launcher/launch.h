// `shardit launch`: keeps a training job going. The job is a child process; where it ends abnormally it is started
// again and goes on from the newest valid checkpoint, if need be on fewer ranks.
//
// Signals. Open MPI's mpirun answers SIGTERM and SIGINT by killing its ranks a second later, in the middle of a save;
// SIGUSR1 it hands on to all of them. So the first SIGTERM, SIGINT or SIGUSR1 to launch becomes SIGUSR1 to mpirun: the
// ranks finish their step, save and exit 0. A second SIGTERM or SIGINT ends the job at once. The job has a process
// group of its own, so that a terminal's Ctrl-C reaches it in this way only; if launch itself is killed, the kernel
// sends the job that SIGUSR1.
#pragma once

#include <string>
#include <vector>

namespace shardit {

struct LaunchOptions {
  int max_restarts = 3;    // 0: none
  bool share_gpu = false;  // ranks of this machine may compute on one GPU (dist/share_gpu.h)
  bool shrink = false;     // after each failure: the next smaller number of ranks that divides the micro-batches
  std::vector<std::string> command;
};

// Runs until the job has ended for good. Returns its exit code as mpirun gives it: 0 also after a signal and a save.
//   restarted   a rank was killed or aborted (128 + signal), a device or communication fault (3), a hang (6), and other
//               ends of a job that had begun to train
//   not         done (0), the user's mistake (2), corrupt data or a disk (4), training stopped itself (5), and a job
//               that mpirun could not start
// Throws UserError for a command that it cannot run. One per process: it takes over the signals.
int launch(const LaunchOptions& options);

}  // namespace shardit

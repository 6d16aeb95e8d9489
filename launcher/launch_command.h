// The command that `shardit launch` restarts: mpirun with its flags, a program, `train` and its flags. Words stay as
// they were given, but for what a restart must change.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "launcher/run_config.pb.h"
#include "launcher/train_flags.h"

namespace shardit {

class LaunchCommand {
 public:
  // Reads the words after `--`, and the config that they name. UserError for what is no such command.
  explicit LaunchCommand(std::vector<std::string> words);

  const std::vector<std::string>& words() const { return words_; }
  std::string program() const { return words_[0]; }
  bool on_cpu() const;  // by its config and flags
  std::string run_directory() const { return flags_.run_directory(); }

  // -np, --np, -n, --n or -c of mpirun; nothing where it is left to mpirun.
  std::optional<int> ranks() const;
  // The next smaller number of ranks that the config can run on; nothing if there is none. REQUIRES: ranks().
  std::optional<int> fewer_ranks() const;
  void set_ranks(int ranks);

  // `--resume none` and `--resume STEP` are for the first start: from here on the newest valid checkpoint is taken.
  void resume_newest();

 private:
  size_t rank_word() const;  // where the number of ranks stands; 0 if it does not

  std::vector<std::string> words_;
  size_t train_ = 0;  // where "train" stands
  TrainFlags flags_;
  RunConfig config_;
};

}  // namespace shardit

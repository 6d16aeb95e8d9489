// Saves during training. With checkpoint.async the state is copied to a planned staging area between two updates, and a
// thread writes it out while training goes on; a save that is due while one runs waits for it, and none is skipped.
#pragma once

#include <functional>
#include <future>
#include <optional>
#include <string>

#include "checkpoints/save.h"
#include "core/program.h"
#include "launcher/run_setup.h"

namespace shardit {

struct FinishedSave {
  SaveReport report;
  int64_t step = 0;
  double stall_ms = 0;  // training stood still
  double total_ms = 0;  // from the start to the commit
};

class Saver {
 public:
  Saver(FileSystem& files, Program& program, const RunSetup& setup, const RunConfig& config, const std::string& run_dir)
      : files_(files),
        program_(program),
        setup_(setup),
        config_(config),
        run_dir_(run_dir) {}
  ~Saver();  // waits for a running save

  // Starts a save of the program's state (or makes one, without async). An error of an earlier save is thrown here.
  void save(const RunState& run);
  // What has been committed since the last call; waits for a running save if asked to. Throws its error.
  std::optional<FinishedSave> finished(bool wait);

 private:
  FinishedSave write(const RunState& run, std::vector<StateTensor> tensors, double begin, double stall_ms) const;

  FileSystem& files_;
  Program& program_;
  const RunSetup& setup_;
  const RunConfig& config_;
  std::string run_dir_;
  std::future<FinishedSave> running_;
  std::optional<FinishedSave> done_;
};

}  // namespace shardit

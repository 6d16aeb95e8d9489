// Saves during training. With checkpoint.async the state is copied to a planned staging area between two updates (to
// the host's copies of it on a device whose memory the host does not reach), and a thread writes it out while training
// goes on; a save that is due while one runs waits for it, and none is skipped.
//
// Every rank has one, and all make the same calls; the ranks of the first replica write, each its shard.
#pragma once

#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <string>

#include "checkpoints/save.h"
#include "core/program.h"
#include "dist/world.h"
#include "launcher/run_setup.h"

namespace shardit {

struct FinishedSave {
  SaveReport report;
  int64_t step = 0;
  double proof_ms = 0;  // training stood still for the resume proof, and then
  double stall_ms = 0;  // for the copy; without async, for the whole save
  double total_ms = 0;  // from the start to the commit
};

class Saver {
 public:
  // Collective over the world: saves speak on a communicator of their own.
  Saver(World& world, FileSystem& files, Program& program, const RunSetup& setup, const RunConfig& config,
        const std::string& run_dir);
  ~Saver();  // waits for a running save

  // Starts a save of the program's state (or makes one, without async), whose proof took `proof_ms`. REQUIRES: no
  // save is running.
  void save(const RunState& run, double proof_ms);
  bool running() const { return running_.valid(); }
  bool ready() const;  // whether finish() would not wait
  // Waits for the save that was started last and returns what it did, once; throws its error. Nothing if there is none,
  // or where this rank wrote nothing.
  std::optional<FinishedSave> finish();

 private:
  struct Times {
    double begin_s, proof_ms, stall_ms;  // stall_ms: below 0 if training waits for all of it
  };
  FinishedSave write(const RunState& run, const std::vector<TensorPart>& parts, const Times& times) const;

  FileSystem& files_;
  Program& program_;
  const RunSetup& setup_;
  const RunConfig& config_;
  std::string run_dir_;
  std::unique_ptr<Communicator> writers_;
  bool writes_;
  std::future<FinishedSave> running_;
};

}  // namespace shardit

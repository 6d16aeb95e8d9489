// Where a run continues: which checkpoint, whether it may, and its state. Used by the trainer, under the run's lock.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "checkpoints/directory.h"
#include "checkpoints/save.h"
#include "launcher/config.h"
#include "launcher/trainer.h"

namespace shardit {

struct Resumed {
  Checkpoint checkpoint;              // its state is loaded
  std::vector<std::string> warnings;  // broken newer checkpoints, and changed keys; each was printed
};

// Fills `state` from the checkpoint that options.resume asks for; nothing where the run starts afresh.
//   auto   the newest that can be read to its last byte: broken ones are passed over, with a warning
//   none   UserError if the run has checkpoints
//   STEP   that one
// `fingerprint` is that of the training data.
// Throws UserError if the data or config keys differ that a resume must not change (a warning with
// override_arithmetic), and IoError if checkpoints are there and none can be read: a run never starts over on its own.
std::optional<Resumed> resume_run(FileSystem& files, const RunConfig& config, const TrainOptions& options,
                                  const std::string& fingerprint, std::span<const StateTensor> state);

}  // namespace shardit

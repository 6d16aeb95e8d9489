// Where a run continues: which checkpoint, whether it may, and its state. Used by the trainer, under the run's lock, on
// every rank: all get the same result, or the same error.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "checkpoints/load_sharded.h"
#include "launcher/config.h"
#include "launcher/run_products.h"
#include "launcher/trainer.h"

namespace shardit {

struct Resumed {
  Checkpoint checkpoint;              // its state is loaded
  std::vector<std::string> warnings;  // broken newer checkpoints, and changed keys; rank 0 printed each
};

// The product table of the checkpoint that resume_run is to take, on rank 0, before anything is loaded. Should it find
// that one broken, it goes on from an older one with the same table only.
std::string stored_products(FileSystem& files, const TrainOptions& options);

// Fills `state`, what this rank holds of it, from the checkpoint that options.resume asks for; nothing where the run
// starts afresh.
//   auto   the newest that can be read to its last byte: broken ones are passed over, with a warning
//   none   UserError if the run has checkpoints
//   STEP   that one
// `fingerprint` is that of the training data, `products` what is used from now on.
// Throws UserError if the data, the products' algorithms on the same kind of device or config keys differ that a resume
// must not change (a warning with override_arithmetic), and IoError if checkpoints are there and none can be read: a
// run never starts over on its own.
std::optional<Resumed> resume_run(FileSystem& files, const Readers& readers, const RunConfig& config,
                                  const TrainOptions& options, const std::string& fingerprint,
                                  const RunProducts& products, std::span<const TensorPart> state);

}  // namespace shardit

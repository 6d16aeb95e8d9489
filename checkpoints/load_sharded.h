// Loading by several ranks, at any stage, from what any number of ranks wrote: rank 0 says which checkpoint, each rank
// reads its own parts, the sums of the ranks are added and held against the digests. What goes wrong on one rank goes
// wrong on all, with one message, so that all fall back together. All calls are collective.
#pragma once

#include <functional>
#include <span>
#include <string>

#include "checkpoints/directory.h"
#include "checkpoints/load.h"
#include "dist/communicator.h"

namespace shardit {

struct Readers {
  Communicator& world;            // all ranks that load
  Communicator* shard = nullptr;  // those that together hold the state once; null: each rank holds all of it
};

// find_newest and open_step as rank 0 sees the run: the same result, or the same error, on every rank.
NewestCheckpoint find_newest(FileSystem& files, Communicator& world, const std::string& run_dir,
                             int64_t before = INT64_MAX);
Checkpoint open_step(FileSystem& files, Communicator& world, const std::string& run_dir, int64_t step);

// load_checkpoint of what this rank holds. `parts` names every tensor of the state, those too of which this rank holds
// no element (shard_parts does). REQUIRES: the same checkpoint on every rank, as the two functions above give it.
void load_sharded(FileSystem& files, const Readers& readers, const Checkpoint& checkpoint,
                  std::span<const TensorPart> parts, Extra extra = Extra::kRefuse);

// Loads the newest checkpoint that every rank can read to its last byte; the result's problems say why newer ones were
// passed over. It is empty if there is none: then, unless there were no problems either, the memory holds anything.
// `admit` looks at each checkpoint before it is read, and may refuse it with a UserError, on all ranks or on none.
NewestCheckpoint load_newest(FileSystem& files, const Readers& readers, const std::string& run_dir,
                             std::span<const TensorPart> parts, const std::function<void(const Checkpoint&)>& admit);

}  // namespace shardit

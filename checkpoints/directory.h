// The directory of a run's checkpoints: names, what is valid, what a crash left, what may be deleted.
//
//   RUN/checkpoints/step-00001000/           a checkpoint
//                  .step-00001000.partial/   a save that has not committed
//                  .step-00001000.replaced/  the old one, while step 1000 is saved again; valid until that commits
//                  .step-00001000.pruned/    on its way out
//                  quarantine-step-…-1/      what an interrupted save left, or what a resume from an earlier step
//                                            overtook; moved here for you to see
//
// A checkpoint is valid if its manifest is and every file in it is present with its size. Bytes are for verify and
// load.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "checkpoints/file_system.h"
#include "checkpoints/manifest.h"

namespace shardit {

struct Checkpoint {
  std::string path;  // of the step directory
  Manifest manifest;
};

struct NewestCheckpoint {
  std::optional<Checkpoint> checkpoint;
  std::vector<std::string> problems;  // newer ones that are broken, and why
};

// The newest valid checkpoint of a run, of those before step `before`. Changes nothing on disk. A run without any gives
// an empty result.
NewestCheckpoint find_newest(FileSystem& files, const std::string& run_dir, int64_t before = INT64_MAX);

// One step of a run; UserError naming the steps that are there if it is missing, IoError if it is broken.
Checkpoint open_step(FileSystem& files, const std::string& run_dir, int64_t step);

// PATH of the command line: a step directory, or a run directory (its newest valid checkpoint).
Checkpoint open_checkpoint(FileSystem& files, const std::string& path);

// For a run that continues from `step`: moves every later checkpoint to quarantine, since the run makes these steps
// again, and prune and the next resume must not take the old ones for its newest. Returns a line for each.
std::vector<std::string> set_aside_after(FileSystem& files, const std::string& run_dir, int64_t step);

// At the start of a run, by one process that holds the run's lock: undoes half-done saves, so that only checkpoints and
// quarantine remain. Returns a line for each thing it did, for the log.
std::vector<std::string> recover(FileSystem& files, const std::string& run_dir);

struct PruneReport {
  std::vector<int64_t> kept, deleted;
  std::vector<std::string> problems;  // broken checkpoints: neither counted nor deleted
};

// Keeps the newest `keep_last` (>= 1) valid checkpoints and every step that is a multiple of `keep_every` (0: none).
PruneReport prune(FileSystem& files, const std::string& run_dir, int keep_last, int64_t keep_every);

// --- names, for the writers ---
std::string checkpoints_dir(const std::string& run_dir);
std::string step_name(int64_t step);                            // "step-00001000"
std::optional<int64_t> step_of_name(const std::string& name);   // nothing if it is none
std::string aside_name(int64_t step, const std::string& what);  // ".step-00001000.partial"

// Renames a directory to the first free quarantine name; returns a line for the log that ends in the reason.
std::string quarantine(FileSystem& files, const std::string& dir, const std::string& name,
                       const std::string& why = "its save was interrupted or its files are damaged");

// For a step whose old checkpoint still lies aside: the committed new one wins, else the old one comes back.
// Returns a line for the log.
std::string settle_replaced(FileSystem& files, const std::string& dir, int64_t step);

}  // namespace shardit

// Saving: each writer writes one file of its own; when all are synced, one of them commits.
//
// A kill at any call, with everything unsynced lost, leaves the old checkpoint or the new one valid. An error is an
// IoError; the partial directory is then deleted and what was there before is there again.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "checkpoints/digest.h"
#include "checkpoints/file_system.h"
#include "checkpoints/manifest.h"
#include "checkpoints/parts.h"
#include "dist/communicator.h"

namespace shardit {

// What a writer tells the one that commits.
struct WrittenPart {
  std::string name;
  DType dtype = DType::kF32;
  Shape shape;
  TensorRange range;  // range.file is set by the commit
  ChunkSum sum;
};
struct WrittenFile {
  FileEntry file;
  std::vector<WrittenPart> parts;
};

struct SaveReport {
  std::string path;
  int64_t bytes = 0;   // of all files
  double seconds = 0;  // since the save began
  Digest root;
  std::vector<std::string> notes;  // for the log: what was quarantined or could not be deleted
};

// Ranks save what they hold of the state; together they hold all of it, once. Rank 0 checks the disk space of all files,
// makes the partial directory and commits when every rank has said that its file is synced. A rank that holds nothing
// writes no file. Collective; the calls of one save come from one thread, on a communicator that serves this save alone.
// An error on any rank is thrown on all as an IoError, "rank 3 of 8: …", and the old checkpoint stays valid. After a
// CommError the partial directory stays, since others may still write to it: recover() moves it away.
SaveReport save_sharded(FileSystem& files, Communicator& writers, const std::string& run_dir, const RunState& run,
                        std::span<const TensorPart> parts);

// --- the steps of a save ---
//
//   PendingSave save(files, run_dir, step, bytes);                               one: free space, a fresh partial
//   WrittenFile w = write_rank_file(files, save.directory(), rank, parts);       every writer
//   save.commit(run, {w, …});                                                    one: manifest last, then the rename

int64_t rank_file_bytes(std::span<const TensorPart> parts);  // header included

// Writes rank-00000.safetensors, synced. A whole tensor keeps its name and shape in it; a part is a flat tensor with a
// name of its own. Empty parts are left out, empty tensors are not.
WrittenFile write_rank_file(FileSystem& files, const std::string& directory, int rank,
                            std::span<const TensorPart> parts);

// The same with elements that lie in no memory yet: `source` gives [first, first + count) of a part's tensor, at most
// `slice` of them, valid until the next call. REQUIRES: slice is a multiple of kChunk.
using PartSource = std::function<const void*(const TensorPart& part, int64_t first, int64_t count)>;
WrittenFile write_rank_file(FileSystem& files, const std::string& directory, int rank,
                            std::span<const TensorPart> parts, int64_t slice, const PartSource& source);

class PendingSave {
 public:
  // Checks that `bytes` fit on the disk, and makes the partial directory. RUN itself must exist.
  PendingSave(FileSystem& files, const std::string& run_dir, int64_t step, int64_t bytes);

  const std::string& directory() const { return partial_; }
  SaveReport commit(const RunState& run, std::span<const WrittenFile> written);  // once, when all files are synced
  void discard() noexcept;  // after an error: deletes the partial directory, if that can be done

 private:
  void publish();

  FileSystem& files_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  std::string dir_, partial_, final_, replaced_;
  std::vector<std::string> notes_;
};

}  // namespace shardit

// Loading: any tensor, or any part of one cut on chunks, from a checkpoint written by any number of ranks.
//
// Bytes go from the file straight into the caller's memory; nothing else grows with the checkpoint. Every byte handed
// out was hashed: whole tensors are held against their digest here, parts when the ranks' sums are added
// (load_sharded.h).
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "checkpoints/directory.h"
#include "checkpoints/save.h"

namespace shardit {

// What the checkpoint holds beyond the tensors asked for: a resume must take all, a sampler wants only weights.
enum class Extra { kRefuse, kIgnore };

// Fills the tensors' memory. A tensor that is missing, extra or of another shape or dtype is a UserError (another
// model's checkpoint); damage is an IoError naming tensor, file and offset. On error the memory holds anything.
void load_checkpoint(FileSystem& files, const Checkpoint& checkpoint, std::span<const StateTensor> tensors,
                     Extra extra = Extra::kRefuse);

// Reads every byte of every file: sizes, CRC32C, digests, safetensors headers against the manifest, files that do not
// belong. Throws IoError naming the first bad tensor, file and offset. Returns the bytes read.
int64_t verify_checkpoint(FileSystem& files, const Checkpoint& checkpoint);

// --- parts ---

// UserError unless the checkpoint has these tensors, of these dtypes and shapes (and, to refuse extra ones, no others).
void check_agreement(const Checkpoint& checkpoint, std::span<const TensorPart> parts, Extra extra);

// Fills the parts' memory, reading each file from front to back; returns the sum of each part's chunk hashes.
// REQUIRES: the checkpoint agrees with them.
std::vector<ChunkSum> read_parts(FileSystem& files, const Checkpoint& checkpoint, std::span<const TensorPart> parts);

// IoError unless the sum over the whole tensor gives its digest.
void check_digest(const Checkpoint& checkpoint, const TensorEntry& tensor, const ChunkSum& sum);

class CheckpointReader {
 public:
  CheckpointReader(FileSystem& files, const Checkpoint& checkpoint) : files_(files), checkpoint_(checkpoint) {}

  // Elements [first, first + count) of a tensor, and the sum of their chunk hashes.
  // REQUIRES: first on a chunk, the end on a chunk or the tensor's end.
  ChunkSum read(const TensorEntry& tensor, int64_t first, int64_t count, void* dst);

 private:
  InputFile& file(int index);

  FileSystem& files_;
  const Checkpoint& checkpoint_;
  int open_index_ = -1;  // one file is open at a time: a job may have more ranks than a process may open files
  std::unique_ptr<InputFile> open_;
};

// Calls body(first, count) for the slices of [0, numel), each of kSliceElements but the last.
inline constexpr int64_t kSliceElements = 1 << 20;
template <typename Body> void for_each_slice(int64_t numel, Body&& body) {
  for (int64_t first = 0; first < numel; first += kSliceElements)
    body(first, numel - first < kSliceElements ? numel - first : kSliceElements);
}

}  // namespace shardit

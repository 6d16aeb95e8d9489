#include "checkpoints/load_sharded.h"

#include <utility>

#include "checkpoints/messages.h"
#include "dist/agree.h"

namespace shardit {
namespace {

// By tensor of the manifest, so that ranks may list their parts in any order.
std::vector<ChunkSum> by_tensor(const Manifest& manifest, std::span<const TensorPart> parts,
                                std::span<const ChunkSum> sums) {
  std::vector<ChunkSum> sorted(manifest.tensors.size());
  for (size_t i = 0; i < parts.size(); ++i) sorted[manifest.find(parts[i].name) - manifest.tensors.data()] = sums[i];
  return sorted;
}

void add_over(Communicator& ranks, std::vector<ChunkSum>& sums) {
  std::vector<ChunkSum> all(sums.size() * ranks.size());
  ranks.all_gather("checkpoint.sums", sums.data(), all.data(), static_cast<int64_t>(sums.size() * sizeof(ChunkSum)));
  std::fill(sums.begin(), sums.end(), ChunkSum());
  for (size_t i = 0; i < all.size(); ++i) sums[i % sums.size()] += all[i];
}

}  // namespace

NewestCheckpoint find_newest(FileSystem& files, Communicator& world, const std::string& run_dir, int64_t before) {
  return decode_newest(
      rank_zero_works(world, "checkpoint.newest", [&] { return encode_newest(find_newest(files, run_dir, before)); }));
}

Checkpoint open_step(FileSystem& files, Communicator& world, const std::string& run_dir, int64_t step) {
  const std::string found = rank_zero_works(world, "checkpoint.open", [&] {
    return encode_newest({open_step(files, run_dir, step), {}});
  });
  return *decode_newest(found).checkpoint;
}

void load_sharded(FileSystem& files, const Readers& readers, const Checkpoint& checkpoint,
                  std::span<const TensorPart> parts, Extra extra) {
  const Manifest& manifest = checkpoint.manifest;
  std::vector<ChunkSum> sums;
  all_work(readers.world, "checkpoint.read", [&] {
    check_agreement(checkpoint, parts, extra);
    sums = by_tensor(manifest, parts, read_parts(files, checkpoint, parts));
    return "";
  });
  if (readers.shard) add_over(*readers.shard, sums);
  all_work(readers.world, "checkpoint.digests", [&] {
    for (const TensorPart& part : parts) {
      const TensorEntry* tensor = manifest.find(part.name);
      check_digest(checkpoint, *tensor, sums[tensor - manifest.tensors.data()]);
    }
    return "";
  });
}

NewestCheckpoint load_newest(FileSystem& files, const Readers& readers, const std::string& run_dir,
                             std::span<const TensorPart> parts, const std::function<void(const Checkpoint&)>& admit) {
  std::vector<std::string> problems;
  for (int64_t before = INT64_MAX;;) {
    NewestCheckpoint newest = find_newest(files, readers.world, run_dir, before);
    problems.insert(problems.end(), newest.problems.begin(), newest.problems.end());
    if (!newest.checkpoint) return {std::nullopt, std::move(problems)};
    admit(*newest.checkpoint);
    try {
      load_sharded(files, readers, *newest.checkpoint, parts);
      return {std::move(newest.checkpoint), std::move(problems)};
    } catch (const IoError& error) {
      problems.push_back(error.what());
      before = newest.checkpoint->manifest.run.step;
    }
  }
}

}  // namespace shardit

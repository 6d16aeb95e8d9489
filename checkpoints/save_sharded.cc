#include <algorithm>
#include <numeric>
#include <optional>

#include "checkpoints/messages.h"
#include "checkpoints/save.h"
#include "dist/agree.h"

namespace shardit {
namespace {

// A rank without elements, as the last ones of a model with fewer chunks than ranks, has nothing to write. Rank 0 also
// lists the tensors that have no elements at all.
bool writes_a_file(int rank, std::span<const TensorPart> parts) {
  return rank == 0 || std::any_of(parts.begin(), parts.end(), [](const TensorPart& part) { return part.count > 0; });
}

int64_t sum_over(Communicator& ranks, int64_t mine) {
  std::vector<int64_t> all(ranks.size());
  ranks.all_gather("checkpoint.bytes", &mine, all.data(), sizeof mine);
  return std::accumulate(all.begin(), all.end(), int64_t{0});
}

std::vector<WrittenFile> files_of(const std::vector<std::string>& by_rank) {
  std::vector<WrittenFile> written;
  for (const std::string& bytes : by_rank)
    if (!bytes.empty()) written.push_back(decode_written_file(bytes));
  return written;
}

}  // namespace

SaveReport save_sharded(FileSystem& files, Communicator& writers, const std::string& run_dir, const RunState& run,
                        std::span<const TensorPart> parts) {
  const bool writes = writes_a_file(writers.rank(), parts);
  const int64_t bytes = sum_over(writers, writes ? rank_file_bytes(parts) : 0);
  std::optional<PendingSave> save;  // rank 0's
  const std::string directory = rank_zero_works(writers, "checkpoint.begin", [&] {
    save.emplace(files, run_dir, run.step, bytes);
    return save->directory();
  });
  try {
    const std::vector<std::string> written = all_work(writers, "checkpoint.write", [&] {
      return writes ? encode_written_file(write_rank_file(files, directory, writers.rank(), parts)) : "";
    });
    return decode_report(rank_zero_works(writers, "checkpoint.commit",
                                         [&] { return encode_report(save->commit(run, files_of(written))); }));
  } catch (const IoError&) {  // all have voted: nobody writes there any more
    if (save) save->discard();
    throw;
  }
}

}  // namespace shardit

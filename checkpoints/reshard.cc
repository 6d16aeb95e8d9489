#include "checkpoints/reshard.h"

#include <algorithm>
#include <map>
#include <tuple>

#include "checkpoints/load.h"
#include "core/error.h"

namespace shardit {
namespace {

constexpr int64_t kRecordBytes = 1024;  // of a tensor or part, in the manifests, the lists and a file's header
constexpr int64_t kElementBytes = 4;    // every tensor of a layout is fp32

// "params", "adam.m", …, in the order in which the writers listed them, which is that of their bytes.
std::vector<std::string> kinds_of(const Manifest& manifest) {
  std::map<std::string, std::tuple<int, int64_t>> first;  // file and offset
  for (const TensorEntry& tensor : manifest.tensors)
    for (const TensorRange& range : tensor.ranges) {
      const std::tuple place(range.file, range.file_offset);
      const auto [kind, is_new] = first.emplace(tensor.name.substr(0, tensor.name.find('/')), place);
      if (!is_new) kind->second = std::min(kind->second, place);
    }
  std::vector<std::string> kinds;
  for (const auto& [kind, place] : first) kinds.push_back(kind);
  std::sort(kinds.begin(), kinds.end(),
            [&](const std::string& a, const std::string& b) { return first.at(a) < first.at(b); });
  return kinds;
}

// What rank `rank` holds, as the trainer lists it: kind by kind, unit by unit. The memory is nobody's.
std::vector<TensorPart> parts_of(const ReshardPlan& plan, int rank) {
  std::vector<TensorPart> parts;
  for (const std::string& kind : plan.kinds)
    for (const Unit& unit : plan.layout.units)
      for (TensorPart& part : shard_parts(kind, unit, rank, plan.ranks, nullptr)) parts.push_back(std::move(part));
  return parts;
}

bool holds_elements(const std::vector<TensorPart>& parts) {
  return std::any_of(parts.begin(), parts.end(), [](const TensorPart& part) { return part.count > 0; });
}

int64_t records_of(const ReshardPlan& plan) {
  int64_t records = 0;
  for (const TensorEntry& tensor : plan.from.manifest.tensors)
    records += 3 + static_cast<int64_t>(tensor.ranges.size());  // its entry, in one rank's list, in that file's header
  for (const Unit& unit : plan.layout.units)
    for (int rank = 0; rank < plan.ranks; ++rank)
      records += static_cast<int64_t>(parts_in_shard(unit, rank, plan.ranks).size() * plan.kinds.size());
  return records;
}

int64_t slice_within(int64_t budget_bytes, int64_t tables_bytes) {
  const int64_t least = tables_bytes + kChunk * kElementBytes;
  REQUIRE(budget_bytes >= least, "--memory-budget is " + std::to_string(budget_bytes) + " bytes, this reshard needs " +
                                     std::to_string(least) + " at least");
  return std::min(kSliceElements, (budget_bytes - tables_bytes) / kElementBytes / kChunk * kChunk);
}

void require_no_such_step(FileSystem& files, const std::string& run_dir, int64_t step) {
  const std::string dir = checkpoints_dir(run_dir);
  for (const std::string& name : {step_name(step), aside_name(step, "replaced")})
    REQUIRE(files.kind(dir + "/" + name) == PathKind::kMissing,
            dir + "/" + name + " is there already: choose another directory");
}

// One rank's file, its elements read slice by slice from the source.
WrittenFile write_from(const ReshardPlan& plan, CheckpointReader& reader, FileSystem& files,
                       const std::string& directory, int rank, const std::vector<TensorPart>& parts) {
  std::vector<char> slice(plan.slice_elements * kElementBytes);
  const PartSource source = [&](const TensorPart& part, int64_t first, int64_t count) {
    reader.read(*plan.from.manifest.find(part.name), first, count, slice.data());
    return slice.data();
  };
  return write_rank_file(files, directory, rank, parts, plan.slice_elements, source);
}

// What was written is what the source's manifest promises.
void check_source(const Checkpoint& from, const std::vector<WrittenFile>& written) {
  std::map<std::string, ChunkSum> sums;
  for (const WrittenFile& file : written)
    for (const WrittenPart& part : file.parts) sums[part.name] += part.sum;
  for (const TensorEntry& tensor : from.manifest.tensors) check_digest(from, tensor, sums[tensor.name]);
}

}  // namespace

ReshardPlan plan_reshard(const Checkpoint& from, const Layout& layout, int ranks, int64_t budget_bytes) {
  REQUIRE(ranks >= 1, "--ranks is " + std::to_string(ranks) + ", expected at least 1");
  ReshardPlan plan{from, layout.padded(ranks), kinds_of(from.manifest), ranks};
  check_agreement(from, parts_of(plan, 0), Extra::kRefuse);
  plan.slice_elements = slice_within(budget_bytes, records_of(plan) * kRecordBytes);
  return plan;
}

SaveReport reshard(FileSystem& files, const ReshardPlan& plan, const std::string& run_dir) {
  RunState run = plan.from.manifest.run;
  run.ranks = plan.ranks;
  require_no_such_step(files, run_dir, run.step);
  int64_t bytes = 0;
  for (int rank = 0; rank < plan.ranks; ++rank) bytes += rank_file_bytes(parts_of(plan, rank));
  PendingSave save(files, run_dir, run.step, bytes);
  try {
    CheckpointReader reader(files, plan.from);
    std::vector<WrittenFile> written;
    for (int rank = 0; rank < plan.ranks; ++rank) {
      const std::vector<TensorPart> parts = parts_of(plan, rank);
      if (rank == 0 || holds_elements(parts))
        written.push_back(write_from(plan, reader, files, save.directory(), rank, parts));
    }
    check_source(plan.from, written);
    return save.commit(run, written);
  } catch (const IoError&) {
    save.discard();
    throw;
  }
}

}  // namespace shardit

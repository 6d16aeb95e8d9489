#include "checkpoints/load.h"

#include <glog/logging.h>

#include <algorithm>
#include <set>

#include "checkpoints/digest.h"
#include "checkpoints/listing.h"
#include "core/error.h"
#include "core/layout.h"

namespace shardit {
namespace {

void check_agreement(const Checkpoint& checkpoint, std::span<const StateTensor> tensors, Extra extra) {
  std::vector<std::string> missing, different, unwanted;
  std::set<std::string> asked;
  for (const StateTensor& tensor : tensors) {
    CHECK(asked.insert(tensor.name).second) << tensor.name << " is loaded twice";
    const TensorEntry* entry = checkpoint.manifest.find(tensor.name);
    if (!entry)
      missing.push_back(tensor.name);
    else if (entry->dtype != tensor.dtype || !(entry->shape == tensor.shape))
      different.push_back(tensor.name + " (" + name_of(entry->dtype) + " " + entry->shape.str() + ", expected " +
                          name_of(tensor.dtype) + " " + tensor.shape.str() + ")");
  }
  for (const TensorEntry& entry : checkpoint.manifest.tensors)
    if (extra == Extra::kRefuse && !asked.count(entry.name)) unwanted.push_back(entry.name);
  const std::string fix =
      "\nthe checkpoint is of another model or other EMA profiles: use the config it was saved with";
  REQUIRE(missing.empty(), checkpoint.path + " lacks " + listed(missing) + fix);
  REQUIRE(different.empty(), checkpoint.path + " differs in " + listed(different) + fix);
  REQUIRE(unwanted.empty(), checkpoint.path + " also holds " + listed(unwanted) + fix);
}

// In the order in which their bytes lie in the files.
std::vector<const StateTensor*> by_position(const Manifest& manifest, std::span<const StateTensor> tensors) {
  std::vector<const StateTensor*> order;
  for (const StateTensor& tensor : tensors) order.push_back(&tensor);
  const auto position = [&](const StateTensor* tensor) {
    const TensorEntry& entry = *manifest.find(tensor->name);
    return entry.ranges.empty() ? std::pair<int, int64_t>()
                                : std::pair(entry.ranges[0].file, entry.ranges[0].file_offset);
  };
  std::sort(order.begin(), order.end(),
            [&](const StateTensor* a, const StateTensor* b) { return position(a) < position(b); });
  return order;
}

}  // namespace

InputFile& CheckpointReader::file(int index) {
  if (open_index_ != index) {
    const std::string path = checkpoint_.path + "/" + checkpoint_.manifest.files[index].name;
    open_ = files_.open(path);
    open_index_ = index;
  }
  return *open_;
}

ChunkSum CheckpointReader::read(const TensorEntry& tensor, int64_t first, int64_t count, void* dst) {
  const int64_t element = static_cast<int64_t>(size_of(tensor.dtype));
  char* to = static_cast<char*>(dst);
  ChunkSum sum;
  for (const TensorRange& range : tensor.ranges) {
    int64_t from = std::max(first, range.first);
    const int64_t end = std::min(first + count, range.first + range.count);
    for (int64_t now; from < end; from += now) {  // slices are hashed while they are in cache
      now = std::min(kSliceElements, end - from);
      char* slice = to + (from - first) * element;
      file(range.file).read(range.file_offset + (from - range.first) * element, slice, now * element);
      sum += hash_chunks(slice, tensor.dtype, from, now);
    }
  }
  return sum;
}

void CheckpointReader::check_digest(const TensorEntry& tensor, const ChunkSum& sum) const {
  if (tensor_digest(tensor.name, tensor.dtype, tensor.shape, sum) == tensor.digest) return;
  std::string where = checkpoint_.path;
  if (!tensor.ranges.empty()) {
    const TensorRange& range = tensor.ranges[0];
    where += "/" + checkpoint_.manifest.files[range.file].name + ", from offset " + std::to_string(range.file_offset);
    if (tensor.ranges.size() > 1) where += " and in " + std::to_string(tensor.ranges.size() - 1) + " more places";
  }
  throw IoError("tensor '" + tensor.name + "' is damaged: its bytes do not have the digest of the manifest\nin " +
                where + "\n`shardit checkpoint verify` names the bad file; an older checkpoint may be whole");
}

void load_checkpoint(FileSystem& files, const Checkpoint& checkpoint, std::span<const StateTensor> tensors,
                     Extra extra) {
  check_agreement(checkpoint, tensors, extra);
  CheckpointReader reader(files, checkpoint);
  for (const StateTensor* tensor : by_position(checkpoint.manifest, tensors)) {
    const TensorEntry& entry = *checkpoint.manifest.find(tensor->name);
    reader.check_digest(entry, reader.read(entry, 0, entry.shape.numel(), tensor->data));
  }
}

}  // namespace shardit

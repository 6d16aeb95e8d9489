#include "checkpoints/load.h"

#include <glog/logging.h>

#include <algorithm>
#include <set>
#include <tuple>

#include "checkpoints/digest.h"
#include "checkpoints/listing.h"
#include "core/error.h"
#include "core/layout.h"

namespace shardit {
namespace {

// What a part has in one file.
struct Piece {
  size_t part;
  int file;
  int64_t file_offset, first, count;
};

// In the order in which their bytes lie in the files, so that each file is opened once and read from front to back.
std::vector<Piece> pieces_of(const Manifest& manifest, std::span<const TensorPart> parts) {
  std::vector<Piece> pieces;
  for (size_t i = 0; i < parts.size(); ++i) {
    const TensorEntry& entry = *manifest.find(parts[i].name);
    const int64_t element = static_cast<int64_t>(size_of(entry.dtype));
    for (const TensorRange& range : entry.ranges) {
      const int64_t first = std::max(parts[i].first, range.first);
      const int64_t end = std::min(parts[i].first + parts[i].count, range.first + range.count);
      if (first < end)
        pieces.push_back({i, range.file, range.file_offset + (first - range.first) * element, first, end - first});
    }
  }
  std::sort(pieces.begin(), pieces.end(), [](const Piece& a, const Piece& b) {
    return std::tie(a.file, a.file_offset) < std::tie(b.file, b.file_offset);
  });
  return pieces;
}

}  // namespace

InputFile& CheckpointReader::file(int index) {
  if (open_index_ != index) {
    const std::string path = checkpoint_.path + "/" + checkpoint_.manifest.files[index].name;
    open_.reset();
    open_ = files_.open(path);
    open_index_ = index;
  }
  return *open_;
}

ChunkSum CheckpointReader::read(const TensorEntry& tensor, int64_t first, int64_t count, void* dst) {
  const int64_t element = static_cast<int64_t>(size_of(tensor.dtype));
  char* to = static_cast<char*>(dst);
  ChunkSum sum;
  auto range = std::partition_point(tensor.ranges.begin(), tensor.ranges.end(),
                                    [&](const TensorRange& before) { return before.first + before.count <= first; });
  for (; range != tensor.ranges.end() && range->first < first + count; ++range) {
    int64_t from = std::max(first, range->first);
    const int64_t end = std::min(first + count, range->first + range->count);
    for (int64_t now; from < end; from += now) {  // slices are hashed while they are in cache
      now = std::min(kSliceElements, end - from);
      char* slice = to + (from - first) * element;
      file(range->file).read(range->file_offset + (from - range->first) * element, slice, now * element);
      sum += hash_chunks(slice, tensor.dtype, from, now);
    }
  }
  return sum;
}

void check_digest(const Checkpoint& checkpoint, const TensorEntry& tensor, const ChunkSum& sum) {
  if (tensor_digest(tensor.name, tensor.dtype, tensor.shape, sum) == tensor.digest) return;
  std::string where = checkpoint.path;
  if (!tensor.ranges.empty()) {
    const TensorRange& range = tensor.ranges[0];
    where += "/" + checkpoint.manifest.files[range.file].name + ", from offset " + std::to_string(range.file_offset);
    if (tensor.ranges.size() > 1) where += " and in " + std::to_string(tensor.ranges.size() - 1) + " more places";
  }
  throw IoError("tensor '" + tensor.name + "' is damaged: its bytes do not have the digest of the manifest\nin " +
                where + "\n`shardit checkpoint verify` names the bad file; an older checkpoint may be whole");
}

void check_agreement(const Checkpoint& checkpoint, std::span<const TensorPart> parts, Extra extra) {
  std::vector<std::string> missing, different, unwanted;
  std::set<std::string> asked;
  for (const TensorPart& part : parts) {
    CHECK(asked.insert(part.name).second) << part.name << " is loaded twice";
    const TensorEntry* entry = checkpoint.manifest.find(part.name);
    if (!entry)
      missing.push_back(part.name);
    else if (entry->dtype != part.dtype || !(entry->shape == part.shape))
      different.push_back(part.name + " (" + name_of(entry->dtype) + " " + entry->shape.str() + ", expected " +
                          name_of(part.dtype) + " " + part.shape.str() + ")");
  }
  for (const TensorEntry& entry : checkpoint.manifest.tensors)
    if (extra == Extra::kRefuse && !asked.count(entry.name)) unwanted.push_back(entry.name);
  const std::string fix =
      "\nthe checkpoint is of another model or other EMA profiles: use the config it was saved with";
  REQUIRE(missing.empty(), checkpoint.path + " lacks " + listed(missing) + fix);
  REQUIRE(different.empty(), checkpoint.path + " differs in " + listed(different) + fix);
  REQUIRE(unwanted.empty(), checkpoint.path + " also holds " + listed(unwanted) + fix);
}

std::vector<ChunkSum> read_parts(FileSystem& files, const Checkpoint& checkpoint, std::span<const TensorPart> parts) {
  CheckpointReader reader(files, checkpoint);
  std::vector<ChunkSum> sums(parts.size());
  for (const Piece& piece : pieces_of(checkpoint.manifest, parts)) {
    const TensorPart& part = parts[piece.part];
    const int64_t element = static_cast<int64_t>(size_of(part.dtype));
    char* to = static_cast<char*>(part.data) + (piece.first - part.first) * element;
    sums[piece.part] += reader.read(*checkpoint.manifest.find(part.name), piece.first, piece.count, to);
  }
  return sums;
}

void load_checkpoint(FileSystem& files, const Checkpoint& checkpoint, std::span<const StateTensor> tensors,
                     Extra extra) {
  const std::vector<TensorPart> parts = whole_parts(tensors);
  check_agreement(checkpoint, parts, extra);
  const std::vector<ChunkSum> sums = read_parts(files, checkpoint, parts);
  for (size_t i = 0; i < parts.size(); ++i) check_digest(checkpoint, *checkpoint.manifest.find(parts[i].name), sums[i]);
}

}  // namespace shardit

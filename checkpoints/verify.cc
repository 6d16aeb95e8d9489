#include <algorithm>
#include <memory>
#include <set>

#include "checkpoints/crc32c.h"
#include "checkpoints/digest.h"
#include "checkpoints/load.h"
#include "checkpoints/safetensors.h"

namespace shardit {
namespace {

// A piece of a file that belongs to a tensor.
struct Piece {
  const TensorEntry* tensor;
  TensorRange range;

  int64_t bytes() const { return range.count * static_cast<int64_t>(size_of(tensor->dtype)); }
};

std::vector<Piece> pieces_of(const Manifest& manifest, int file) {
  std::vector<Piece> pieces;
  for (const TensorEntry& tensor : manifest.tensors)
    for (const TensorRange& range : tensor.ranges)
      if (range.file == file) pieces.push_back({&tensor, range});
  std::sort(pieces.begin(), pieces.end(),
            [](const Piece& a, const Piece& b) { return a.range.file_offset < b.range.file_offset; });
  return pieces;
}

void check_only_listed_files(FileSystem& files, const Checkpoint& checkpoint) {
  std::set<std::string> listed = {kManifestName};
  for (const FileEntry& entry : checkpoint.manifest.files) listed.insert(entry.name);
  for (const std::string& name : files.list(checkpoint.path))
    if (!listed.count(name)) throw IoError(checkpoint.path + "/" + name + " does not belong to the checkpoint");
}

// What other programs read in the header must be what the manifest says.
void check_header(const SafetensorsReader& reader, const std::vector<Piece>& pieces) {
  size_t known = 0;
  for (const Piece& piece : pieces) {
    const TensorEntry& tensor = *piece.tensor;
    const std::string name = stored_name(tensor.name, tensor.shape, piece.range.first, piece.range.count);
    const StoredTensor* stored = reader.find(name);
    if (!stored || stored->offset != piece.range.file_offset || stored->bytes != piece.bytes() ||
        stored->dtype != tensor.dtype)
      throw IoError(reader.path() + ": the header and the manifest disagree on tensor '" + name + "' at offset " +
                    std::to_string(piece.range.file_offset));
    ++known;
  }
  for (const StoredTensor& stored : reader.tensors()) known += stored.bytes == 0;
  if (known != reader.tensors().size())
    throw IoError(reader.path() + ": the header has a tensor that the manifest does not know");
}

// Reads one file from its first byte to its last.
class FileScan {
 public:
  FileScan(FileSystem& files, const std::string& path) : file_(files.open(path)) {}

  int64_t size() const { return file_->size(); }
  uint32_t crc() const { return crc_; }
  void skip_to(int64_t offset) {
    while (at_ < offset) next(std::min<int64_t>(offset - at_, kSliceElements));
  }
  ChunkSum hash(const Piece& piece) {
    const int64_t element = static_cast<int64_t>(size_of(piece.tensor->dtype));
    ChunkSum sum;
    for (int64_t done = 0, now; done < piece.range.count; done += now) {
      now = std::min(kSliceElements, piece.range.count - done);
      next(now * element);
      sum += hash_chunks(buffer_.data(), piece.tensor->dtype, piece.range.first + done, now);
    }
    return sum;
  }

 private:
  void next(int64_t bytes) {
    buffer_.resize(bytes);
    file_->read(at_, buffer_.data(), bytes);
    crc_ = crc32c(buffer_.data(), bytes, crc_);
    at_ += bytes;
  }

  std::unique_ptr<InputFile> file_;
  std::vector<char> buffer_;
  int64_t at_ = 0;
  uint32_t crc_ = 0;
};

// The sums of all tensors' chunks, and the files whose bytes are not those that were written.
struct Scanned {
  std::map<const TensorEntry*, ChunkSum> sums;
  std::set<int> damaged;
};

void scan_file(FileSystem& files, const Checkpoint& checkpoint, int index, Scanned& scanned) {
  const FileEntry& entry = checkpoint.manifest.files[index];
  const std::string path = checkpoint.path + "/" + entry.name;
  FileScan scan(files, path);
  if (scan.size() != entry.bytes)
    throw IoError(path + " ends at offset " + std::to_string(scan.size()) + ", the manifest says " +
                  std::to_string(entry.bytes));
  for (const Piece& piece : pieces_of(checkpoint.manifest, index)) {
    scan.skip_to(piece.range.file_offset);
    scanned.sums[piece.tensor] += scan.hash(piece);
  }
  scan.skip_to(entry.bytes);
  if (scan.crc() != entry.crc32c) scanned.damaged.insert(index);
}

// The first tensor with bytes in the file whose digest is wrong, as text; empty if there is none.
std::string first_damaged(const std::vector<Piece>& pieces, Scanned& scanned) {
  for (const Piece& piece : pieces) {
    const TensorEntry& tensor = *piece.tensor;
    if (tensor_digest(tensor.name, tensor.dtype, tensor.shape, scanned.sums[&tensor]) == tensor.digest) continue;
    return "tensor '" + tensor.name + "', whose bytes lie from offset " + std::to_string(piece.range.file_offset) +
           " to " + std::to_string(piece.range.file_offset + piece.bytes());
  }
  return "";
}

[[noreturn]] void report_damage(const std::string& path, const std::vector<Piece>& pieces, Scanned& scanned) {
  const std::string tensor = first_damaged(pieces, scanned);
  throw IoError(path + " is damaged: its CRC32C does not match\nin " +
                (tensor.empty() ? "its header, from offset 0" : tensor));
}

void check_digests(const std::string& path, const std::vector<Piece>& pieces, Scanned& scanned) {
  const std::string tensor = first_damaged(pieces, scanned);
  if (!tensor.empty()) throw IoError(path + ": its bytes do not have the digest of the manifest\nin " + tensor);
}

// Tensors without elements lie in no file; only their digest can be held against the manifest.
void check_empty_tensors(const Checkpoint& checkpoint) {
  for (const TensorEntry& tensor : checkpoint.manifest.tensors)
    if (tensor.ranges.empty() && tensor_digest(tensor.name, tensor.dtype, tensor.shape, {}) != tensor.digest)
      throw IoError(checkpoint.path + ": the empty tensor '" + tensor.name + "' has a wrong digest in the manifest");
}

}  // namespace

int64_t verify_checkpoint(FileSystem& files, const Checkpoint& checkpoint) {
  const Manifest& manifest = checkpoint.manifest;
  check_only_listed_files(files, checkpoint);
  check_empty_tensors(checkpoint);
  const int count = static_cast<int>(manifest.files.size());
  Scanned scanned;
  for (int i = 0; i < count; ++i) scan_file(files, checkpoint, i, scanned);
  // A tensor may lie in several files; those with a wrong CRC are the bad ones, so they are named first.
  if (!scanned.damaged.empty()) {
    const int i = *scanned.damaged.begin();
    report_damage(checkpoint.path + "/" + manifest.files[i].name, pieces_of(manifest, i), scanned);
  }
  for (int i = 0; i < count; ++i) {
    const std::string path = checkpoint.path + "/" + manifest.files[i].name;
    const std::vector<Piece> pieces = pieces_of(manifest, i);
    check_digests(path, pieces, scanned);
    check_header(SafetensorsReader(files, path), pieces);
  }
  return manifest.data_bytes();
}

}  // namespace shardit

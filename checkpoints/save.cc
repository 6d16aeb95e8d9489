#include "checkpoints/save.h"

#include <glog/logging.h>

#include <algorithm>
#include <cstdio>

#include "checkpoints/directory.h"
#include "checkpoints/safetensors.h"
#include "core/layout.h"

namespace shardit {
namespace {

constexpr int64_t kSlice = 1024 * kChunk;         // elements hashed, summed and written while they are in cache
constexpr int64_t kManifestAllowance = 16 << 20;  // bytes kept free for the manifest and the file system's own blocks

std::string rank_file_name(int rank) {
  char text[40];
  std::snprintf(text, sizeof text, "rank-%05d.safetensors", rank);
  return text;
}

StoredTensor stored(const TensorPart& part) {
  CHECK(part.first % kChunk == 0 && part.first >= 0 && part.count >= 0) << part.name << " is not cut on chunks";
  const std::string name = stored_name(part.name, part.shape, part.first, part.count);
  return {name, part.dtype, part.is_whole() ? part.shape : Shape{part.count}};
}

std::vector<TensorPart> without_empty_parts(std::span<const TensorPart> parts) {
  std::vector<TensorPart> kept;
  for (const TensorPart& part : parts)
    if (part.count > 0 || part.is_whole()) kept.push_back(part);
  return kept;
}

std::vector<StoredTensor> stored_tensors(std::span<const TensorPart> parts) {
  std::vector<StoredTensor> tensors;
  for (const TensorPart& part : parts) tensors.push_back(stored(part));
  return tensors;
}

ChunkSum write_part(SafetensorsWriter& writer, const TensorPart& part, int64_t slice, const PartSource& source) {
  const int64_t element = static_cast<int64_t>(size_of(part.dtype)), end = part.first + part.count;
  ChunkSum sum;
  for (int64_t first = part.first; first < end; first += slice) {
    const int64_t count = std::min(slice, end - first);
    const void* data = source(part, first, count);
    writer.write(data, count * element, [&] { sum += hash_chunks(data, part.dtype, first, count); });
  }
  return sum;
}

// A tensor of the manifest, put together from the parts of all writers.
struct Gathered {
  TensorEntry entry;
  ChunkSum sum;
};

void gather(const WrittenPart& part, int file, std::map<std::string, Gathered>& tensors) {
  Gathered& gathered = tensors[part.name];
  TensorEntry& entry = gathered.entry;
  if (entry.name.empty()) entry = {part.name, part.dtype, part.shape, {}, {}};
  CHECK(entry.dtype == part.dtype && entry.shape == part.shape) << "writers disagree on " << part.name;
  gathered.sum += part.sum;
  TensorRange range = part.range;
  range.file = file;
  if (range.count > 0) entry.ranges.push_back(range);
}

Manifest manifest_of(const RunState& run, std::span<const WrittenFile> written) {
  Manifest manifest;
  manifest.run = run;
  std::map<std::string, Gathered> tensors;
  for (const WrittenFile& file : written) {
    for (const WrittenPart& part : file.parts) gather(part, static_cast<int>(manifest.files.size()), tensors);
    manifest.files.push_back(file.file);
  }
  for (auto& [name, gathered] : tensors) {
    TensorEntry& entry = gathered.entry;
    std::sort(entry.ranges.begin(), entry.ranges.end(),
              [](const TensorRange& a, const TensorRange& b) { return a.first < b.first; });
    entry.digest = tensor_digest(name, entry.dtype, entry.shape, gathered.sum);
    manifest.tensors.push_back(std::move(entry));
  }
  manifest.root = root_of(manifest.tensors);
  return manifest;
}

void require_free_space(FileSystem& files, const std::string& dir, int64_t bytes) {
  const int64_t free = files.free_bytes(dir), needed = bytes + kManifestAllowance;
  if (free >= needed) return;
  throw IoError("a checkpoint in " + dir + " needs " + std::to_string(needed) + " bytes, the disk has " +
                std::to_string(free) + " free\nfree space (old checkpoints, quarantine-* directories), lower " +
                "checkpoint.keep_last, or use another disk");
}

// Syncs the parent also if the directory was there: who made it may have failed before doing so.
void make_durable_dir(FileSystem& files, const std::string& path, const std::string& parent) {
  if (files.kind(path) != PathKind::kDirectory) files.make_dir(path);
  files.sync_dir(parent);
}

}  // namespace

int64_t rank_file_bytes(std::span<const TensorPart> parts) {
  std::vector<StoredTensor> tensors = stored_tensors(without_empty_parts(parts));
  int64_t bytes = static_cast<int64_t>(safetensors_header(tensors, {}).size());
  for (const StoredTensor& tensor : tensors) bytes += tensor.bytes;
  return bytes;
}

WrittenFile write_rank_file(FileSystem& files, const std::string& directory, int rank,
                            std::span<const TensorPart> parts) {
  return write_rank_file(files, directory, rank, parts, kSlice, [](const TensorPart& part, int64_t first, int64_t) {
    return static_cast<const char*>(part.data) + (first - part.first) * static_cast<int64_t>(size_of(part.dtype));
  });
}

WrittenFile write_rank_file(FileSystem& files, const std::string& directory, int rank,
                            std::span<const TensorPart> all_parts, int64_t slice, const PartSource& source) {
  const std::vector<TensorPart> parts = without_empty_parts(all_parts);
  const std::string name = rank_file_name(rank);
  SafetensorsWriter writer(files, directory + "/" + name, stored_tensors(parts), {});
  WrittenFile written;
  for (size_t i = 0; i < parts.size(); ++i) {
    const TensorPart& part = parts[i];
    const TensorRange range{0, writer.tensors()[i].offset, part.first, part.count};
    written.parts.push_back({part.name, part.dtype, part.shape, range, write_part(writer, part, slice, source)});
  }
  writer.finish();
  written.file = {name, writer.bytes(), writer.crc32c()};
  return written;
}

PendingSave::PendingSave(FileSystem& files, const std::string& run_dir, int64_t step, int64_t bytes)
    : files_(files),
      dir_(checkpoints_dir(run_dir)) {
  make_durable_dir(files_, dir_, run_dir);
  partial_ = dir_ + "/" + aside_name(step, "partial");
  final_ = dir_ + "/" + step_name(step);
  replaced_ = dir_ + "/" + aside_name(step, "replaced");
  require_free_space(files_, dir_, bytes);
  if (files_.kind(partial_) != PathKind::kMissing)
    notes_.push_back(quarantine(files_, dir_, aside_name(step, "partial")));
  if (files_.kind(replaced_) != PathKind::kMissing) notes_.push_back(settle_replaced(files_, dir_, step));
  files_.make_dir(partial_);
}

SaveReport PendingSave::commit(const RunState& run, std::span<const WrittenFile> written) {
  const Manifest manifest = manifest_of(run, written);
  write_file(files_, partial_ + "/" + kManifestName, encode_manifest(manifest));
  files_.sync_dir(partial_);
  publish();
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  return {final_, manifest.data_bytes(), seconds, manifest.root, std::move(notes_)};
}

// From here on the new checkpoint is complete under its partial name. The old one of the same step goes aside first,
// and counts as valid there until the new one has its name for good. A crash cannot keep the second rename and lose the
// first: the name was taken.
void PendingSave::publish() {
  const bool replaces = files_.kind(final_) != PathKind::kMissing;
  if (replaces) {
    files_.rename(final_, replaced_);
  }
  try {
    files_.rename(partial_, final_);
  } catch (const IoError&) {
    if (replaces) files_.rename(replaced_, final_);
    throw;
  }
  files_.sync_dir(dir_);
  if (!replaces) return;
  try {
    remove_tree(files_, replaced_, kManifestName);
  } catch (const IoError& error) {  // the save itself has succeeded
    notes_.push_back(std::string("the replaced checkpoint could not be deleted: ") + error.what());
  }
}

void PendingSave::discard() noexcept {
  try {
    if (files_.kind(partial_) == PathKind::kDirectory) remove_tree(files_, partial_, kManifestName);
  } catch (const std::exception& error) {
    LOG(WARNING) << "an interrupted save is left in " << partial_ << ": " << error.what();
  }
}

}  // namespace shardit

#include "checkpoints/manifest_check.h"

#include <algorithm>

#include "checkpoints/safetensors.h"
#include "core/layout.h"

namespace shardit {
namespace {

bool plain_file_name(const std::string& name) {
  return !name.empty() && name[0] != '.' && name.find('/') == std::string::npos && name != kManifestName;
}

std::string wrong_files(const Manifest& manifest) {
  int64_t total = 0;
  for (size_t i = 0; i < manifest.files.size(); ++i) {
    const FileEntry& file = manifest.files[i];
    if (!plain_file_name(file.name)) return "the file name '" + file.name + "' is not allowed";
    if (file.bytes < 0) return "file " + file.name + " has a negative size";
    if (__builtin_add_overflow(total, file.bytes, &total)) return "its files have more than 2^63 bytes";
    for (size_t j = 0; j < i; ++j)
      if (manifest.files[j].name == file.name) return "file " + file.name + " is listed twice";
  }
  return "";
}

std::string wrong_range(const Manifest& manifest, const TensorEntry& tensor, const TensorRange& range) {
  if (range.file < 0 || range.file >= static_cast<int>(manifest.files.size())) return "lies in an unlisted file";
  const FileEntry& file = manifest.files[range.file];
  const int64_t bytes = range.count * static_cast<int64_t>(size_of(tensor.dtype));  // count <= numel: no overflow
  if (range.file_offset < 0 || range.file_offset > file.bytes || bytes > file.bytes - range.file_offset)
    return "leaves file " + file.name + " at offset " + std::to_string(range.file_offset);
  return "";
}

// The ranges must tile the tensor, each starting on a chunk.
std::string wrong_tensor(const Manifest& manifest, const TensorEntry& tensor) {
  if (bytes_of(tensor.shape, tensor.dtype) < 0) return "has an impossible shape " + tensor.shape.str();
  const int64_t numel = tensor.shape.numel();
  int64_t next = 0;
  for (const TensorRange& range : tensor.ranges) {
    if (range.first != next || range.first % kChunk != 0 || range.count <= 0 || range.count > numel - next)
      return "has a range of elements from " + std::to_string(range.first) + " where " + std::to_string(next) +
             " is expected";
    if (const std::string wrong = wrong_range(manifest, tensor, range); !wrong.empty()) return wrong;
    next += range.count;
  }
  return next == numel ? "" : "has " + std::to_string(next) + " of its " + std::to_string(numel) + " elements";
}

}  // namespace

std::string contradiction_in(const Manifest& manifest) {
  if (const std::string wrong = wrong_files(manifest); !wrong.empty()) return wrong;
  const std::string* last = nullptr;
  int64_t left = manifest.data_bytes();  // of the files, for the tensors that are still to come
  for (const TensorEntry& tensor : manifest.tensors) {
    if (last && !(*last < tensor.name)) return "tensor '" + tensor.name + "' is listed twice or out of order";
    const std::string wrong = wrong_tensor(manifest, tensor);
    if (!wrong.empty()) return "tensor '" + tensor.name + "' " + wrong;
    left -= bytes_of(tensor.shape, tensor.dtype);
    if (left < 0) return "tensor '" + tensor.name + "' shares bytes of a file with another";
    last = &tensor.name;
  }
  return manifest.root == root_of(manifest.tensors) ? "" : "the root digest is not that of the tensors";
}

}  // namespace shardit

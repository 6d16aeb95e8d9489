// Files in the safetensors format: 8 bytes of header length (little-endian), a JSON header, then the tensors' bytes.
//
//   {"__metadata__": {"key": "text", …}, "name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, …}
//
// Offsets count from the header's end. The reader trusts nothing: a header that lies (length, offsets, shape times
// dtype, duplicate names, holes, bytes after the last tensor) is an IoError naming the file, the tensor and the offset.
// Neither side ever holds more of the data than the caller's buffer.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "checkpoints/file_system.h"
#include "core/dtype.h"
#include "core/pool.h"
#include "core/shape.h"

namespace shardit {

struct StoredTensor {
  std::string name;
  DType dtype = DType::kF32;
  Shape shape;
  int64_t offset = 0;  // of the first byte, from the file's start
  int64_t bytes = 0;
};

class SafetensorsReader {
 public:
  SafetensorsReader(FileSystem& files, const std::string& path);

  const std::string& path() const { return path_; }
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  const std::vector<StoredTensor>& tensors() const { return tensors_; }  // in the order of their bytes
  const StoredTensor* find(const std::string& name) const;               // null if there is none

  // All of a tensor, or `bytes` of it from `first_byte`. A missing name is an IoError.
  void read(const std::string& name, void* dst);
  void read(const StoredTensor& tensor, int64_t first_byte, int64_t bytes, void* dst);

 private:
  std::string path_;
  std::unique_ptr<InputFile> file_;
  std::map<std::string, std::string> metadata_;
  std::vector<StoredTensor> tensors_;
  std::unordered_map<std::string, size_t> index_;
};

// The first bytes of a file that will hold these tensors in this order without holes. Fills in offset and bytes.
// The header is padded with spaces so that the data starts on a multiple of 8.
using Metadata = std::map<std::string, std::string>;
std::string safetensors_header(std::vector<StoredTensor>& tensors, const Metadata& metadata);

class SafetensorsWriter {
 public:
  // Creates the file and writes its header. REQUIRES: names differ. Of `tensors` only name, dtype and shape are read.
  SafetensorsWriter(FileSystem& files, const std::string& path, std::vector<StoredTensor> tensors,
                    const Metadata& metadata);

  const std::vector<StoredTensor>& tensors() const { return tensors_; }  // with their offsets
  // The next bytes, tensor after tensor. They are summed up, and `meanwhile` is called, while the file takes them.
  void write(const void* data, int64_t bytes, const std::function<void()>& meanwhile = nullptr);
  void finish();  // REQUIRES: all bytes were written. Syncs and closes.

  int64_t bytes() const { return bytes_; }  // written so far, header included
  uint32_t crc32c() const { return crc_; }  // of those

 private:
  std::vector<StoredTensor> tensors_;
  std::unique_ptr<OutputFile> file_;
  Pool pool_{2};  // one writes, one sums up
  int64_t bytes_ = 0;
  uint32_t crc_ = 0;
};

// numel × size_of(dtype), or -1 if that is no 63-bit number.
int64_t bytes_of(const Shape& shape, DType dtype);

}  // namespace shardit

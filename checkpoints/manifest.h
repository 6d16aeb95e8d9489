// The manifest: the page of a checkpoint that says what everything else in the directory is.
//
// It is written last, so a directory with a valid manifest is complete. The file manifest.pb, byte by byte:
//
//   0   8  magic "SHARDIT\x01"
//   8   8  n, the length of the message, little-endian
//   16  n  shardit.pb.Manifest (manifest.proto), deterministically serialized
//   16+n 4 CRC32C of all bytes before, little-endian
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "checkpoints/digest.h"
#include "core/dtype.h"
#include "core/shape.h"

namespace shardit {

inline constexpr const char* kManifestName = "manifest.pb";
inline constexpr int kManifestVersion = 1;

// The state of a run that is not a tensor. Everything random follows from (seed, step).
struct RunState {
  int64_t step = 0;    // updates done
  int64_t images = 0;  // samples seen
  uint64_t seed = 0;
  uint64_t next_sample = 0;  // data position: the global number of the next sample
  std::string config_text;   // the resolved run config, protobuf text
  int ranks = 1;
  int zero_stage = 0;
  std::string device_kind;  // instruction set or SM version: bit-equality holds within one kind
  std::map<std::string, std::string> library_versions;
  std::string run_nonce;
  std::string data_fingerprint;              // of the training data; empty where the state came without any
  std::string product_table;                 // text; empty: libraries chose all algorithms
  std::optional<uint32_t> resume_loss_bits;  // resume proof: fp32 bits of the next step's micro-batch 0 loss
};

struct TensorRange {
  int file = 0;             // index into Manifest::files
  int64_t file_offset = 0;  // bytes from the file's start
  int64_t first = 0;        // element of the tensor; a multiple of kChunk
  int64_t count = 0;        // elements
};

struct TensorEntry {
  std::string name;
  DType dtype = DType::kF32;
  Shape shape;
  Digest digest;
  std::vector<TensorRange> ranges;  // by first; together they are the whole tensor
};

struct FileEntry {
  std::string name;
  int64_t bytes = 0;
  uint32_t crc32c = 0;
};

struct Manifest {
  RunState run;
  std::vector<TensorEntry> tensors;  // by name
  std::vector<FileEntry> files;
  Digest root;  // of all tensors

  const TensorEntry* find(const std::string& name) const;  // null if there is none
  int64_t data_bytes() const;                              // of all files
};

Digest root_of(const std::vector<TensorEntry>& tensors);

// The file's bytes, and back. Decoding checks everything that can be checked without the other files; `path` is for
// the IoError. Encoding a manifest that decoding would refuse is our own mistake and aborts.
std::string encode_manifest(const Manifest& manifest);
Manifest decode_manifest(const std::string& bytes, const std::string& path);

}  // namespace shardit

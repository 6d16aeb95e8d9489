// A golden file: inputs and outputs of the reference implementation on random parameters (safetensors, configuration in
// its metadata). Images in it are (B, C, S, S); here they are channels-last.
//
// This is the reading half: it trusts nothing, and takes no more memory than the file has bytes, a few times over. What
// is computed from a golden (golden_run.h) may rely on what is said here.
#pragma once

#include <string>
#include <vector>

#include "checkpoints/safetensors.h"
#include "model/diffit_layout.h"

namespace shardit {

inline constexpr int64_t kGoldenTimesteps = 1000;  // of the goldens' diffusion

class Golden {
 public:
  // Throws IoError (exit 4) for a file that is not a golden: damaged, without a configuration, or with tensors that
  // contradict it. All that follows throws the same.
  Golden(FileSystem& files, const std::string& path);

  bool latent() const { return latent_; }  // the diffusion model, of which the rest speaks; else an autoencoder
  DiffitConfig model() const;
  int64_t batch() const { return integer("batch"); }
  bool has(const std::string& name) const { return reader_.find(name) != nullptr; }
  const Shape& shape(const std::string& name) const { return tensor(name).shape; }

  double number(const std::string& key) const;                // of the metadata
  std::vector<double> numbers(const std::string& key) const;  // comma-separated
  std::vector<float> real(const std::string& name) const;     // F32 or F64
  std::vector<int64_t> integers(const std::string& name) const;
  std::vector<float> images(const std::string& name) const;  // (…, C, S, S) as (…, S, S, C)

  [[noreturn]] void refuse(const std::string& why) const;

 private:
  const StoredTensor& tensor(const std::string& name) const;
  const StoredTensor& real_tensor(const std::string& name) const;
  const StoredTensor& integer_tensor(const std::string& name) const;
  int64_t extent(const std::string& name, int axis) const;
  int64_t integer(const std::string& key) const;  // of the metadata, 1 to 2^20

  void check_shape(const StoredTensor& tensor, const Shape& expected) const;
  // Of tensors that are there: real numbers of this shape, or integers from 0 up to and without `limit`.
  void expect(const std::string& name, const Shape& shape) const;
  void expect_integers(const std::string& name, const Shape& shape, int64_t limit) const;
  void check_parameters() const;
  void check_constants() const;
  void check_sections() const;

  mutable SafetensorsReader reader_;
  bool latent_ = false;
};

}  // namespace shardit

// A golden file: inputs and outputs of the reference implementation on random parameters (safetensors, configuration in
// its metadata). Images in it are (B, C, S, S); here they are channels-last.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "checkpoints/safetensors.h"
#include "launcher/graphs.h"

namespace shardit {

inline constexpr int64_t kGoldenTimesteps = 1000;  // of the goldens' diffusion

class Golden {
 public:
  // Throws IoError (exit 4) for a file that is not a golden: damaged, without a configuration, or with tensors that
  // contradict it.
  Golden(FileSystem& files, const std::string& path);

  bool latent() const { return latent_; }  // the diffusion model; else an autoencoder
  bool has(const std::string& name) const { return reader_.find(name) != nullptr; }
  const Shape& shape(const std::string& name) const;

  double number(const std::string& key) const;                // of the metadata
  std::vector<double> numbers(const std::string& key) const;  // comma-separated
  std::vector<float> real(const std::string& name) const;     // F32 or F64
  std::vector<int64_t> integers(const std::string& name) const;
  std::vector<float> images(const std::string& name) const;  // (…, C, S, S) as (…, S, S, C)

  // The model and its training step as the metadata states them: one micro-batch, one EMA named "ema".
  RunSetup setup(const Precision& precision) const;
  int64_t batch() const { return integer("batch"); }

 private:
  [[noreturn]] void refuse(const std::string& why) const;
  const StoredTensor& tensor(const std::string& name) const;
  int64_t integer(const std::string& key) const;  // of the metadata, 1 to 2^20
  DiffitConfig model() const;
  void check_parameters() const;
  void check_constants() const;
  // A tensor that is there has this shape and, if it holds integers, values below `limit` and not negative.
  void expect(const std::string& name, const Shape& shape, int64_t limit = 0) const;
  int64_t extent(const std::string& name, int axis) const;
  void check_sections() const;

  mutable SafetensorsReader reader_;
  bool latent_ = false;
};

// (outer, C, S, S) to (outer, S, S, C).
std::vector<float> channels_last(const std::vector<float>& x, int64_t channels, int64_t positions);

}  // namespace shardit

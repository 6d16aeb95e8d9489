// Running a small graph on given inputs, for tests of models and processes.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "core/program.h"
#include "core/random.h"
#include "model/diffit.h"
#include "ops/ops.h"

namespace shardit::test {

inline double element(const TensorRef& t, int64_t i) {
  switch (t.dtype()) {
    case DType::kF32:
      return static_cast<double>(t.as<float>()[i]);
    case DType::kF64:
      return t.as<double>()[i];
    case DType::kBF16:
      return static_cast<double>(t.as<BF16>()[i]);
    default:
      return static_cast<double>(t.as<int64_t>()[i]);
  }
}

class Runner {
 public:
  explicit Runner(const Graph& graph)
      : pool_(1),
        device_(make_cpu_device()),
        program_(compile({{"g", graph}}, 1), *device_, pool_) {}

  double* f64(const std::string& name) { return static_cast<double*>(program_.host_pointer(name)); }
  float* f32(const std::string& name) { return static_cast<float*>(program_.host_pointer(name)); }
  int64_t* i64(const std::string& name) { return static_cast<int64_t*>(program_.host_pointer(name)); }
  void run() { program_.run("g"); }
  std::vector<double> get(const std::string& output) {
    const TensorRef t = program_.output("g", output);
    std::vector<double> x;
    for (int64_t i = 0; i < t.numel(); ++i) x.push_back(element(t, i));
    return x;
  }

 private:
  Pool pool_;
  std::unique_ptr<Device> device_;
  Program program_;
};

// Weights that exercise everything: normals of 0.2, zero-initialised tensors included.
template <typename T> void fill_weights(const Layout& layout, Runner& runner) {
  const Philox philox(5, Purpose::kInitialWeights);
  for (const Unit& unit : layout.units)
    for (const Param& p : unit.params)
      for (int64_t i = 0; i < p.numel(); ++i) {
        const double x = 0.2 * static_cast<double>(normal_at(philox, hash_name(p.name), static_cast<uint64_t>(i)));
        if constexpr (sizeof(T) == 8)
          runner.f64("master." + unit.name)[p.offset() + i] = x;
        else
          runner.f32("master." + unit.name)[p.offset() + i] = static_cast<T>(x);
      }
}

inline const DiffitConfig kTiny{.input_size = 6,
                                .in_channels = 2,
                                .patch_size = 2,
                                .hidden_size = 12,
                                .depth = 2,
                                .num_heads = 3,
                                .mlp_ratio = 2,
                                .num_classes = 4};

}  // namespace shardit::test

// A graph under test: inputs filled by name, run once or often, outputs read by name.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "core/program.h"
#include "ops/ops.h"

namespace shardit {

class Case {
 public:
  explicit Case(DType real = DType::kF32) : graph(real) {}

  Graph graph;

  Value in(const std::string& name, Type type) { return input(graph, name, type, BufferClass::kActivations); }
  void out(const std::string& name, Value v) { graph.name_output(v, name); }

  void compile(int threads = 1) {
    pool_ = std::make_unique<Pool>(threads);
    program_ = std::make_unique<Program>(shardit::compile({{"case", graph}}, threads), *device_, *pool_);
  }
  template <typename T> void set(const std::string& name, const std::vector<T>& values) {
    program_->upload(name, values.data(), static_cast<int64_t>(values.size() * sizeof(T)));
  }
  void run() { program_->run("case"); }
  template <typename T> std::vector<T> get(const std::string& name) {
    const TensorRef t = program_->output("case", name);
    EXPECT_EQ(t.dtype(), DTypeOf<T>::value);
    return std::vector<T>(t.as<T>(), t.as<T>() + t.numel());
  }
  Program& program() { return *program_; }

 private:
  std::unique_ptr<Device> device_ = make_cpu_device();
  std::unique_ptr<Pool> pool_;
  std::unique_ptr<Program> program_;
};

// Keyed normals, times `scale`.
inline std::vector<float> normals(uint64_t item, int64_t n, float scale = 1) {
  const Philox philox(21, Purpose::kSynthetic);
  std::vector<float> x(static_cast<size_t>(n));
  for (int64_t i = 0; i < n; ++i) x[i] = scale * normal_at(philox, item, i);
  return x;
}

}  // namespace shardit

// Runs one formula on given numbers, for tests of single ops.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include <glog/logging.h>
#include "core/program.h"
#include "core/random.h"
#include "ops/cast.h"
#include "ops/ops.h"

namespace shardit {

using Numbers = std::vector<double>;
using Formula = std::function<std::vector<Value>(const std::vector<Value>&)>;

struct Operand {
  Type type;
  Numbers numbers;
};

inline Numbers normals(int64_t n, uint64_t key) {
  const Philox philox(21, Purpose::kSynthetic);
  Numbers x(static_cast<size_t>(n));
  for (int64_t i = 0; i < n; ++i) x[static_cast<size_t>(i)] = normal_at(philox, key, static_cast<uint64_t>(i));
  return x;
}

// Small integers: every product and sum of them is exact, in bf16 too as long as it stays below 256.
inline Numbers small_integers(int64_t n, uint64_t key) {
  Numbers x = normals(n, key);
  for (double& v : x) v = std::max(-2.0, std::min(2.0, std::round(v)));
  return x;
}

inline Operand normal_operand(Shape shape, uint64_t key) { return {{DType::kF32, shape}, normals(shape.numel(), key)}; }
inline Operand integer_operand(Shape shape, uint64_t key) {
  return {{DType::kF32, shape}, small_integers(shape.numel(), key)};
}

// Floating operands arrive in fp32 (or fp64, if `real` says so) and are cast as `precision` wants them.
inline std::vector<Numbers> evaluate(const std::vector<Operand>& in, const Formula& formula,
                                     const Precision& precision = {}, int threads = 1, DType real = DType::kF32) {
  Graph graph(real);
  std::vector<Value> values;
  for (size_t k = 0; k < in.size(); ++k) {
    const DType dtype = is_floating(in[k].type.dtype) ? real : in[k].type.dtype;
    values.push_back(input(graph, "in" + std::to_string(k), {dtype, in[k].type.shape}, BufferClass::kActivations));
  }
  const std::vector<Value> out = formula(values);
  for (size_t k = 0; k < out.size(); ++k) graph.name_output(out[k], "out" + std::to_string(k));
  const auto device = make_cpu_device();
  Pool pool(threads);
  Program program(compile({{"g", real == DType::kF64 ? graph : apply_precision(graph, precision)}}, threads), *device,
                  pool);
  for (size_t k = 0; k < in.size(); ++k) {
    void* data = program.host_pointer("in" + std::to_string(k));
    for (size_t i = 0; i < in[k].numbers.size(); ++i) {
      const double x = in[k].numbers[i];
      if (in[k].type.dtype == DType::kI64)
        static_cast<int64_t*>(data)[i] = static_cast<int64_t>(x);
      else if (real == DType::kF64)
        static_cast<double*>(data)[i] = x;
      else
        static_cast<float*>(data)[i] = static_cast<float>(x);
    }
  }
  program.run("g");
  std::vector<Numbers> result;
  for (size_t k = 0; k < out.size(); ++k) {
    const TensorRef t = program.output("g", "out" + std::to_string(k));
    Numbers& numbers = result.emplace_back();
    for (int64_t i = 0; i < t.numel(); ++i) {
      if (t.dtype() == DType::kF64)
        numbers.push_back(t.as<double>()[i]);
      else if (t.dtype() == DType::kBF16)
        numbers.push_back(t.as<BF16>()[i]);
      else
        numbers.push_back(t.as<float>()[i]);
    }
  }
  return result;
}

inline const Precision kBF16Everywhere{.compute = DType::kBF16, .residual = DType::kBF16, .reduce = DType::kBF16};

}  // namespace shardit

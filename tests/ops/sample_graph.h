// The samples of the cards as graphs, for all that sweeps over cards.
#pragma once

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include <glog/logging.h>
#include "core/random.h"
#include "ops/differentiate.h"
#include "ops/ops.h"

namespace shardit {

using Tensor = std::vector<double>;

inline double element(const TensorRef& t, int64_t i) {
  switch (t.dtype()) {
    case DType::kF32:
      return t.as<float>()[i];
    case DType::kF64:
      return t.as<double>()[i];
    case DType::kBF16:
      return static_cast<float>(t.as<BF16>()[i]);
    case DType::kI64:
      return static_cast<double>(t.as<int64_t>()[i]);
    default:
      LOG(FATAL) << "unexpected type " << name_of(t.dtype());
  }
}

inline void store(void* data, DType dtype, int64_t i, double x) {
  switch (dtype) {
    case DType::kF32:
      static_cast<float*>(data)[i] = static_cast<float>(x);
      break;
    case DType::kF64:
      static_cast<double*>(data)[i] = x;
      break;
    case DType::kBF16:
      static_cast<BF16*>(data)[i] = BF16(static_cast<float>(x));
      break;
    case DType::kI64:
      static_cast<int64_t*>(data)[i] = static_cast<int64_t>(x);
      break;
    case DType::kU8:
      static_cast<uint8_t*>(data)[i] = static_cast<uint8_t>(x);
      break;
    default:
      LOG(FATAL) << "unexpected type " << name_of(dtype);
  }
}

inline Type real_type(const Type& type, DType real) {
  return type.dtype == DType::kF32 ? Type{real, type.shape} : type;
}

inline Tensor sample_input(const Sample& sample, int k, uint64_t seed = 11) {
  const Philox philox(seed, Purpose::kSynthetic);
  Tensor x(sample.in[k].shape.numel());
  const bool positive = std::count(sample.positive.begin(), sample.positive.end(), k) > 0;
  for (size_t i = 0; i < x.size(); ++i) {
    const double z = normal_at(philox, k, i);
    x[i] = is_floating(sample.in[k].dtype) ? (positive ? std::exp(0.5 * z) : z)
                                           : static_cast<double>(sample.integer(k, static_cast<int64_t>(i)));
  }
  return x;
}

inline std::vector<Tensor> sample_inputs(const Sample& sample, uint64_t seed = 11) {
  std::vector<Tensor> x;
  for (size_t k = 0; k < sample.in.size(); ++k) x.push_back(sample_input(sample, static_cast<int>(k), seed));
  return x;
}

// The sample's formula as a graph: named inputs in0, in1, …, outputs out0, out1, …. `feed` goes between: copy, so that
// the planner may let outputs take over the inputs' bytes; residual_stream, so that a sum has the stream's type.
struct Built {
  Graph graph;
  std::vector<Value> in, out;
};

inline std::unique_ptr<Built> build(const Sample& sample, DType real, Value (*feed)(Value) = nullptr) {
  auto b = std::make_unique<Built>(Built{Graph(real), {}, {}});
  for (size_t k = 0; k < sample.in.size(); ++k)
    b->in.push_back(
        input(b->graph, "in" + std::to_string(k), real_type(sample.in[k], real), BufferClass::kActivations));
  std::vector<Value> in = b->in;
  if (feed)
    for (Value& v : in) v = feed(v);
  b->out = sample.build(in);
  for (size_t k = 0; k < b->out.size(); ++k) b->graph.name_output(b->out[k], "out" + std::to_string(k));
  return b;
}

// The attributes that a card's node has in a sample of it.
inline std::shared_ptr<const Attrs> attrs_of(const OpCard& card, const Sample& sample) {
  const auto b = build(sample, DType::kF32);
  const Node& node = b->graph.producer(b->out[0].id);
  CHECK(node.card == &card) << "a sample of " << card.name << " is no single node";
  return node.attrs;
}

inline bool differentiable(const OpCard& card, const Sample& sample) {
  if (!card.grad) return false;
  for (size_t k = 0; k < sample.in.size(); ++k)
    if (is_floating(sample.in[k].dtype) &&
        !std::count(sample.no_gradient.begin(), sample.no_gradient.end(), static_cast<int>(k)))
      return true;
  return false;
}

// Weighted sums of the outputs: their gradients are checked against central differences in fp64.
struct GradientCase {
  std::unique_ptr<Built> built;
  std::vector<int> wrt;  // inputs
  std::vector<Tensor> weights;
};

inline GradientCase gradient_case(const Sample& sample, DType real) {
  GradientCase c{build(sample, real), {}, {}};
  std::vector<Value> wrt, of, dof;
  for (size_t k = 0; k < sample.in.size(); ++k) {
    const bool skipped = std::count(sample.no_gradient.begin(), sample.no_gradient.end(), static_cast<int>(k)) > 0;
    if (!is_floating(sample.in[k].dtype) || skipped) continue;
    c.wrt.push_back(static_cast<int>(k));
    wrt.push_back(c.built->in[k]);
  }
  for (size_t k = 0; k < c.built->out.size(); ++k) {
    const Value out = c.built->out[k];
    c.weights.emplace_back(out.shape().numel(), 0.0);
    if (std::count(sample.no_output_gradient.begin(), sample.no_output_gradient.end(), static_cast<int>(k)) > 0)
      continue;
    const Philox philox(12, Purpose::kSynthetic);
    for (size_t i = 0; i < c.weights.back().size(); ++i) c.weights.back()[i] = normal_at(philox, k, i);
    of.push_back(out);
    dof.push_back(input(c.built->graph, "weight" + std::to_string(k), {real, out.shape()}, BufferClass::kActivations));
  }
  const std::vector<Value> gradients = backpropagate(c.built->graph, of, dof, wrt);
  for (size_t i = 0; i < wrt.size(); ++i) c.built->graph.name_output(gradients[i], "grad" + std::to_string(c.wrt[i]));
  return c;
}

}  // namespace shardit

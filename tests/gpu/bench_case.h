// What the benchmarks of device kernels share: an op as a node on operands in the device's memory, and its time.
#pragma once

#include <algorithm>
#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include <glog/logging.h>
#include "core/random.h"
#include "ops/cast.h"
#include "ops/ops.h"
#include "tests/gpu/device_memory.h"

namespace shardit {

inline constexpr int kWarmUp = 3, kRuns = 25;

struct Events {
  cudaEvent_t begin, end;
  Events() {
    SHARDIT_CUDA(cudaEventCreate(&begin));
    SHARDIT_CUDA(cudaEventCreate(&end));
  }
  ~Events() {
    cudaEventDestroy(begin);
    cudaEventDestroy(end);
  }
};

// The median time of a launch, in milliseconds: of several in a row where one is so short that its way to the GPU
// counts.
inline double median_ms(const std::function<void()>& launch, int in_a_row = 1) {
  const Events events;
  std::vector<float> times;
  for (int i = 0; i < kWarmUp + kRuns; ++i) {
    SHARDIT_CUDA(cudaEventRecord(events.begin, nullptr));
    for (int l = 0; l < in_a_row; ++l) launch();
    SHARDIT_CUDA(cudaEventRecord(events.end, nullptr));
    SHARDIT_CUDA(cudaEventSynchronize(events.end));
    float ms = 0;
    SHARDIT_CUDA(cudaEventElapsedTime(&ms, events.begin, events.end));
    if (i >= kWarmUp) times.push_back(ms / static_cast<float>(in_a_row));
  }
  std::nth_element(times.begin(), times.begin() + kRuns / 2, times.end());
  return times[kRuns / 2];
}

using Builder = std::function<std::vector<Value>(const std::vector<Value>&)>;

// An op on inputs of these types, built in fp32 and cast to `precision`; its node of the card is timed.
struct Case {
  std::string name;
  const OpCard* card;
  Precision precision;
  std::vector<Type> in;
  Builder build;
  std::function<int64_t(int64_t)> integer = [](int64_t i) { return i; };
  double bytes = 0;  // where fewer move than the card's cost says
};

inline const Precision kFp32{};
inline const Precision kBf16{.compute = DType::kBF16, .residual = DType::kBF16, .reduce = DType::kBF16};
inline const Precision kMixed{.compute = DType::kBF16, .residual = DType::kF32, .reduce = DType::kF32};

inline Type f32(Shape shape) { return {DType::kF32, shape}; }
inline Type i64(Shape shape) { return {DType::kI64, shape}; }
inline Builder one(std::function<Value(const std::vector<Value>&)> f) {
  return [f](const std::vector<Value>& v) { return std::vector{f(v)}; };
}

inline const Node& node_of(const Graph& graph, const OpCard* card) {
  for (int n = graph.node_count() - 1; n >= 0; --n)
    if (graph.node(n).card == card) return graph.node(n);
  LOG(FATAL) << "the case has no node of " << card->name;
}

// Device memory full of normal numbers; positive ones may stand for variances.
enum class Signs { kPositive, kBoth };
class Operands {
 public:
  explicit Operands(Signs signs) : arena_(size_t{12} << 30) {
    const Philox philox(1, Purpose::kSynthetic);
    std::vector<float> f32(kPool);
    std::vector<BF16> bf16(kPool);
    for (size_t i = 0; i < kPool; ++i) {
      const float z = normal_at(philox, 0, i);
      bf16[i] = BF16(f32[i] = signs == Signs::kPositive ? std::fabs(z) : z);
    }
    f32_ = arena_.allocate(kPool * sizeof(float));
    bf16_ = arena_.allocate(kPool * sizeof(BF16));
    arena_.copy_in(f32_, reinterpret_cast<std::byte*>(f32.data()), kPool * sizeof(float));
    arena_.copy_in(bf16_, reinterpret_cast<std::byte*>(bf16.data()), kPool * sizeof(BF16));
  }

  std::byte* make(const Type& type, const std::function<int64_t(int64_t)>& integer) {
    const auto bytes = static_cast<size_t>(type.bytes());
    std::byte* to = arena_.allocate(bytes);
    if (type.dtype == DType::kF32 || type.dtype == DType::kU8) repeat(f32_, kPool * sizeof(float), to, bytes);
    if (type.dtype == DType::kBF16) repeat(bf16_, kPool * sizeof(BF16), to, bytes);
    if (type.dtype == DType::kF64) upload(std::vector<double>(static_cast<size_t>(type.shape.numel()), 0.5), to);
    if (type.dtype == DType::kI64) {
      std::vector<int64_t> values(static_cast<size_t>(type.shape.numel()));
      for (size_t i = 0; i < values.size(); ++i) values[i] = integer(static_cast<int64_t>(i));
      upload(values, to);
    }
    return to;
  }
  std::byte* make_empty(size_t bytes) { return arena_.allocate(bytes); }
  // All that was made is free again.
  void clear() { arena_.rewind(bf16_ + kPool * sizeof(BF16)); }

 private:
  static constexpr size_t kPool = size_t{1} << 22;

  void repeat(const std::byte* from, size_t pool, std::byte* to, size_t bytes) {
    for (size_t at = 0; at < bytes; at += pool) arena_.copy_in(to + at, from, std::min(pool, bytes - at));
  }
  template <typename T> void upload(const std::vector<T>& values, std::byte* to) {
    arena_.copy_in(to, reinterpret_cast<const std::byte*>(values.data()), values.size() * sizeof(T));
  }

  DeviceArena arena_;
  std::byte *f32_, *bf16_;
};

// A case's node, prepared, with all it needs in the device's memory, until operands.clear().
class TimedNode {
 public:
  TimedNode(const Case& c, Operands& operands)
      : graph_(graph_of(c)),
        node_(node_of(graph_, c.card)),
        types_(types_of(graph_, node_)),
        prepared_(c.card->cuda_prepare ? c.card->cuda_prepare(types_) : nullptr) {
    for (const Type& type : types_.in) in_.push_back({operands.make(type, c.integer), type});
    for (const Type& type : types_.out) out_.push_back({nullptr, type});
    for (const Alias& a : c.card->alias ? c.card->alias(types_) : std::vector<Alias>{})
      if (a.kind == Alias::kUpdate) out_[a.out].data = in_[a.in].data;
    for (TensorRef& out : out_)
      if (!out.data) out.data = operands.make_empty(static_cast<size_t>(out.type.bytes()));
    const int64_t scratch = c.card->cuda_workspace ? c.card->cuda_workspace(types_) : 0;
    workspace_ = operands.make_empty(static_cast<size_t>(scratch));
  }
  TimedNode(const TimedNode&) = delete;

  void launch() const {
    node_.card->cuda(
        {.in = in_, .out = out_, .attrs = node_.attrs.get(), .prepared = prepared_.get(), .workspace = workspace_},
        nullptr);
  }
  const NodeTypes& types() const { return types_; }
  const std::vector<TensorRef>& in() const { return in_; }
  const std::vector<TensorRef>& out() const { return out_; }
  Cost cost() const { return node_.card->cost(types_); }

 private:
  static Graph graph_of(const Case& c) {
    Graph graph(DType::kF32);
    std::vector<Value> in;
    for (size_t i = 0; i < c.in.size(); ++i)
      in.push_back(input(graph, "in" + std::to_string(i), c.in[i], BufferClass::kActivations));
    c.build(in);
    return apply_precision(graph, c.precision);
  }

  Graph graph_;
  const Node& node_;
  NodeTypes types_;
  std::unique_ptr<Prepared> prepared_;
  std::vector<TensorRef> in_, out_;
  std::byte* workspace_;
};

}  // namespace shardit

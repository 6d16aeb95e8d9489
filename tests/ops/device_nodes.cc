#include "tests/ops/device_nodes.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <new>
#include <set>

#include <glog/logging.h>
#include "core/layout.h"
#include "ops/cast.h"
#include "tests/ops/sample_graph.h"

namespace shardit {
namespace {

// Relative to the largest element of the output; on top, a bf16 result may be its neighbour.
struct Tolerance {
  double any = 0;
  double bf16 = any;        // of a bf16 output, where that is wider
  double unaligned = bf16;  // of a bf16 output whose rows are no multiple of 16 bytes, where that is wider still
};
const std::map<std::string, Tolerance> kTolerances = {
    // sums of a row in another order
    {"layer_norm", {2e-6}},
    {"layer_norm_grad", {2e-6}},
    {"add_layer_norm", {2e-6}},
    // the same; a stream in bf16 rounds the gradient before it is added, and a neighbour is a step of 2^-7 away
    {"layer_norm_grad_add", {2e-6, 8e-3}},
    {"layer_norm_grad_add_cast", {2e-6, 8e-3}},
    // exponentials of logits of size 10, sums over a row in another order
    {"attention", {2e-5}},
    {"attention_grad", {2e-5}},
    // exp2 and the reciprocal
    {"gelu", {1e-6}},
    {"gelu_grad", {1e-6}},
    {"silu", {1e-6}},
    {"silu_grad", {1e-6}},
    {"learned_noise", {1e-7}},  // exp in fp64
    // sums along k in another order; in rows that do not fit the library's accesses it rounds the product before it
    // adds the bias
    {"linear", {2e-6, 2e-6, 4e-3}},
    {"linear_dgrad", {2e-6}},
    {"linear_wgrad", {2e-6}},
    {"linear_wgrad_bias", {2e-6}},
    // the same, and what GELU or its slope makes of a neighbour of a bf16 number, or of one that was not rounded: up to
    // 1.13 steps of 2^-8
    {"linear_gelu", {3e-6, 5e-3}},
    {"linear_dgrad_gelu", {3e-6, 5e-3}},
    // at t = 0 exp, log and tanh in fp64; a difference of two CDFs makes more of their last bit
    {"variational_bound", {2e-6}},
    {"variational_bound_grad", {1e-5}},
};

// Whose device kernel may be a library's epilogue: in bf16 it rounds once where the ops apart round twice.
const std::set<std::string> kEpilogues = {"linear_gelu", "linear_dgrad_gelu"};

double tolerance_of(const OpCard& card, const Type& type) {
  const Tolerance& tolerance = kTolerances.at(card.name);
  if (type.dtype != DType::kBF16) return tolerance.any;
  const bool aligned = type.shape.rank() > 0 && type.shape[-1] % 8 == 0;
  return aligned ? tolerance.bf16 : tolerance.unaligned;
}

const Precision kBf16{.compute = DType::kBF16, .residual = DType::kBF16, .reduce = DType::kBF16};
const Precision kMixed{.compute = DType::kBF16, .residual = DType::kF32, .reduce = DType::kF32};

class HostMemory : public KernelMemory {
 public:
  std::byte* allocate(size_t bytes) override { return new (std::align_val_t{256}) std::byte[bytes]; }
  void release(std::byte* memory) override { operator delete[](memory, std::align_val_t{256}); }
  void copy_in(std::byte* to, const std::byte* from, size_t bytes) override { std::memcpy(to, from, bytes); }
  void copy_out(std::byte* to, const std::byte* from, size_t bytes) override { std::memcpy(to, from, bytes); }
};

constexpr std::byte kUnwritten{0xff}, kEdgeByte{0xa5};
constexpr size_t kEdge = 256;

// An operand in a kernel's memory, with edges around it that nobody may touch.
class Operand {
 public:
  Operand(KernelMemory& memory, size_t bytes, size_t shift)  // full of NaNs
      : memory_(memory),
        begin_(kEdge + shift),
        bytes_(bytes),
        base_(memory.allocate(begin_ + bytes + kEdge)) {
    Bytes all(begin_ + bytes + kEdge, kEdgeByte);
    std::fill_n(all.begin() + static_cast<std::ptrdiff_t>(begin_), bytes, kUnwritten);
    memory_.copy_in(base_, all.data(), all.size());
  }
  Operand(KernelMemory& memory, const Bytes& content, size_t shift) : Operand(memory, content.size(), shift) {
    memory_.copy_in(data(), content.data(), bytes_);
  }
  ~Operand() { memory_.release(base_); }
  Operand(const Operand&) = delete;

  std::byte* data() const { return base_ + begin_; }
  size_t bytes() const { return bytes_; }
  Bytes content() const { return read(begin_, bytes_); }
  bool edges_are_whole() const {
    const Bytes before = read(0, begin_), behind = read(begin_ + bytes_, kEdge);
    const auto whole = [](std::byte b) { return b == kEdgeByte; };
    return std::all_of(before.begin(), before.end(), whole) && std::all_of(behind.begin(), behind.end(), whole);
  }

 private:
  Bytes read(size_t first, size_t bytes) const {
    Bytes to(bytes);
    memory_.copy_out(to.data(), base_ + first, bytes);
    return to;
  }

  KernelMemory& memory_;
  size_t begin_, bytes_;
  std::byte* base_;
};

std::vector<Alias> aliases_of(const NodeCase& c) {
  return c.node->card->alias ? c.node->card->alias(types_of(*c.graph, *c.node)) : std::vector<Alias>{};
}

std::vector<TensorRef> refs(const Graph& graph, const std::vector<int>& values,
                            const std::vector<std::byte*>& addresses) {
  std::vector<TensorRef> result;
  for (size_t i = 0; i < values.size(); ++i) result.push_back({addresses[i], graph.info(values[i]).type});
  return result;
}

std::string first_difference(const Bytes& a, const Bytes& b, const Type& type, double tolerance) {
  const TensorRef x{const_cast<std::byte*>(a.data()), type}, y{const_cast<std::byte*>(b.data()), type};
  double largest = 1e-3;
  for (int64_t i = 0; i < x.numel(); ++i)
    if (std::isfinite(element(x, i))) largest = std::max(largest, std::fabs(element(x, i)));
  for (int64_t i = 0; i < x.numel(); ++i) {
    const double expected = element(x, i), got = element(y, i);
    const double neighbour = type.dtype == DType::kBF16 ? std::fabs(expected) * 0x1p-7 : 0;
    if (std::fabs(expected - got) <= tolerance * largest + neighbour || expected == got) continue;
    if (std::isnan(expected) && std::isnan(got)) continue;
    return "element " + std::to_string(i) + " is " + std::to_string(got) + ", not " + std::to_string(expected) +
           " (off by " + std::to_string((got - expected) / largest * 1e6) + " millionths of the largest)";
  }
  return "";
}

std::string byte_difference(const Bytes& a, const Bytes& b, const Type& type) {
  if (a == b) return "";
  const auto at = std::mismatch(a.begin(), a.end(), b.begin()).first - a.begin();
  const int64_t i = at / static_cast<int64_t>(size_of(type.dtype));
  const TensorRef x{const_cast<std::byte*>(a.data()), type}, y{const_cast<std::byte*>(b.data()), type};
  return "element " + std::to_string(i) + " is " + std::to_string(element(y, i)) + ", to the bit not " +
         std::to_string(element(x, i));
}

Bytes bytes_of(const Tensor& x, DType dtype) {
  Bytes bytes(x.size() * size_of(dtype));
  for (size_t i = 0; i < x.size(); ++i) store(bytes.data(), dtype, static_cast<int64_t>(i), x[i]);
  return bytes;
}

// Walks a graph on the CPU and hands out the nodes that have device kernels.
void walk(const Graph& graph, const std::map<std::string, Tensor>& inputs, const std::string& name,
          const std::function<void(const NodeCase&, const NodeResult&)>& f) {
  std::map<int, Bytes> values;
  for (int n = 0; n < graph.node_count(); ++n) {
    const Node& node = graph.node(n);
    if (node.card == &input_card) {
      values[node.out[0]] = bytes_of(inputs.at(node.label), graph.info(node.out[0]).type.dtype);
      continue;
    }
    NodeCase c{&graph, &node, {}, std::string(node.card->name) + " in " + name};
    for (int v : node.in) c.in.push_back(values.at(v));
    const NodeResult cpu = run_on_cpu(c);
    CHECK(cpu.violation.empty()) << c.name << " on the CPU: " << cpu.violation;
    if (node.card->cuda) f(c, cpu);
    for (size_t i = 0; i < node.out.size(); ++i) values[node.out[i]] = cpu.out[i];
  }
}

// What a card has for either kind of device.
struct Kernel {
  void (*run)(const OpCard& card, const KernelArgs& k);
  int64_t (*workspace)(const OpCard& card, const NodeTypes& types);
  std::unique_ptr<Prepared> (*prepare)(const OpCard& card, const NodeTypes& types);
};

constexpr Kernel kCpuKernel = {
    .run = [](const OpCard& card, const KernelArgs& k) { card.cpu(k); },
    .workspace = [](const OpCard& card,
                    const NodeTypes& types) { return card.workspace ? card.workspace(types, 1) : 0; },
    .prepare = [](const OpCard& card, const NodeTypes& types) { return card.prepare ? card.prepare(types) : nullptr; },
};

constexpr Kernel kDeviceKernel = {
    .run = [](const OpCard& card, const KernelArgs& k) { card.cuda(k, nullptr); },
    .workspace = [](const OpCard& card,
                    const NodeTypes& types) { return card.cuda_workspace ? card.cuda_workspace(types) : 0; },
    .prepare = [](const OpCard& card,
                  const NodeTypes& types) { return card.cuda_prepare ? card.cuda_prepare(types) : nullptr; },
};

NodeResult run_node(const NodeCase& c, KernelMemory& memory, const Kernel& kernel, Addresses addresses) {
  const NodeTypes types = types_of(*c.graph, *c.node);
  const auto shift = [&](const Type& t) {  // whole chunks are a unit's buffer, which the planner aligns
    return addresses == Addresses::kShifted && t.shape.numel() % kChunk != 0 ? size_of(t.dtype) : 0;
  };
  std::vector<std::unique_ptr<Operand>> in, own;
  std::vector<std::byte*> in_at, out_at;
  std::vector<bool> written(c.in.size(), false);
  for (size_t i = 0; i < c.in.size(); ++i) {
    in.push_back(std::make_unique<Operand>(memory, c.in[i], shift(types.in[i])));
    in_at.push_back(in.back()->data());
  }
  for (const Type& type : types.out) {
    own.push_back(std::make_unique<Operand>(memory, static_cast<size_t>(type.bytes()), shift(type)));
    out_at.push_back(own.back()->data());
  }
  for (const Alias& a : aliases_of(c)) {
    const auto offset = a.offset * static_cast<int64_t>(size_of(types.out[a.out].dtype));
    const bool reuse =
        a.kind == Alias::kReuse && addresses == Addresses::kInPlace && types.in[a.in] == types.out[a.out];
    if (a.kind == Alias::kUpdate || a.kind == Alias::kView || reuse) out_at[a.out] = in_at[a.in] + offset;
    if (a.kind == Alias::kUpdate || reuse) written[a.in] = true;
    if (a.kind == Alias::kPlace) memory.copy_in(out_at[a.out] + offset, c.in[a.in].data(), c.in[a.in].size());
  }
  const OpCard& card = *c.node->card;
  const Operand workspace(memory, static_cast<size_t>(kernel.workspace(card, types)), 0);
  const auto prepared = kernel.prepare(card, types);

  Pool pool(1);
  const auto in_refs = refs(*c.graph, c.node->in, in_at), out_refs = refs(*c.graph, c.node->out, out_at);
  kernel.run(card, {.in = in_refs,
                    .out = out_refs,
                    .attrs = c.node->attrs.get(),
                    .prepared = prepared.get(),
                    .workspace = workspace.data(),
                    .pool = &pool});
  memory.wait();

  NodeResult result;
  for (size_t o = 0; o < types.out.size(); ++o) {
    Bytes content(static_cast<size_t>(types.out[o].bytes()));
    memory.copy_out(content.data(), out_at[o], content.size());
    result.out.push_back(std::move(content));
    if (!own[o]->edges_are_whole()) result.violation = "writes outside output " + std::to_string(o);
  }
  for (size_t i = 0; i < in.size(); ++i) {
    if (!in[i]->edges_are_whole()) result.violation = "writes outside input " + std::to_string(i);
    if (!written[i] && in[i]->content() != c.in[i]) result.violation = "writes into input " + std::to_string(i);
  }
  if (!workspace.edges_are_whole()) result.violation = "writes outside the scratch";
  return result;
}

// The same formula with the card's expansion in the place of the card.
Sample expanded(const OpCard& card, const Sample& sample) {
  Sample apart = sample;
  apart.build = [&card, attrs = attrs_of(card, sample)](const std::vector<Value>& in) {
    return card.expand(in, attrs.get());
  };
  return apart;
}

// Runs a graph whose nodes all have device kernels.
std::map<std::string, Bytes> outputs_on_device(const Graph& graph, const std::map<std::string, Tensor>& inputs,
                                               KernelMemory& memory) {
  std::map<int, Bytes> values;
  for (int n = 0; n < graph.node_count(); ++n) {
    const Node& node = graph.node(n);
    if (node.card == &input_card) {
      values[node.out[0]] = bytes_of(inputs.at(node.label), graph.info(node.out[0]).type.dtype);
      continue;
    }
    NodeCase c{&graph, &node, {}, node.card->name};
    for (int v : node.in) c.in.push_back(values.at(v));
    NodeResult result = run_node(c, memory, kDeviceKernel, Addresses::kAligned);
    for (size_t i = 0; i < node.out.size(); ++i) values[node.out[i]] = std::move(result.out[i]);
  }
  std::map<std::string, Bytes> outputs;
  for (const auto& [name, value] : graph.outputs()) outputs[name] = values.at(value);
  return outputs;
}

}  // namespace

std::unique_ptr<KernelMemory> host_memory() { return std::make_unique<HostMemory>(); }

NodeResult run_on_device(const NodeCase& c, KernelMemory& memory, Addresses addresses) {
  return run_node(c, memory, kDeviceKernel, addresses);
}
NodeResult run_on_cpu(const NodeCase& c) { return run_node(c, *host_memory(), kCpuKernel, Addresses::kAligned); }

void for_device_nodes(const OpCard& card, uint64_t seed,
                      const std::function<void(const NodeCase&, const NodeResult&)>& f) {
  if (!card.samples) return;
  int number = 0;
  for (const Sample& sample : card.samples()) {
    const GradientCase g = differentiable(card, sample) ? gradient_case(sample, DType::kF32)
                                                        : GradientCase{build(sample, DType::kF32), {}, {}};
    std::map<std::string, Tensor> inputs;
    const std::vector<Tensor> in = sample_inputs(sample, seed);
    for (size_t i = 0; i < in.size(); ++i) inputs["in" + std::to_string(i)] = in[i];
    for (size_t i = 0; i < g.weights.size(); ++i) inputs["weight" + std::to_string(i)] = g.weights[i];
    const std::string of = std::string(", sample ") + std::to_string(number++) + " of " + card.name;
    walk(g.built->graph, inputs, "fp32" + of, f);
    walk(apply_precision(g.built->graph, kBf16), inputs, "bf16" + of, f);
    walk(apply_precision(g.built->graph, kMixed), inputs, "bf16 beside fp32" + of, f);
  }
}

std::vector<std::string> expansion_differences(const OpCard& card, uint64_t seed, KernelMemory& memory) {
  std::vector<std::string> differences;
  const Samples samples = card.expand ? card.samples() : Samples{};
  for (const Sample& sample : samples) {
    const auto fused = build(sample, DType::kF32, residual_stream),
               apart = build(expanded(card, sample), DType::kF32, residual_stream);
    std::map<std::string, Tensor> inputs;
    const std::vector<Tensor> in = sample_inputs(sample, seed);
    for (size_t i = 0; i < in.size(); ++i) inputs["in" + std::to_string(i)] = in[i];
    for (const Precision& precision : {Precision{}, kBf16}) {
      const Graph whole = apply_precision(fused->graph, precision);
      const auto a = outputs_on_device(whole, inputs, memory);
      const auto b = outputs_on_device(apply_precision(apart->graph, precision), inputs, memory);
      const bool is_bf16 = precision.compute == DType::kBF16;
      for (const auto& [name, value] : whole.outputs()) {
        const Type& type = whole.info(value).type;
        const std::string text = is_bf16 && kEpilogues.contains(card.name)
                                     ? first_difference(b.at(name), a.at(name), type, tolerance_of(card, type))
                                     : byte_difference(b.at(name), a.at(name), type);
        if (!text.empty())
          differences.push_back(std::string(card.name) + (is_bf16 ? " in bf16, apart and fused: " : ": ") + name + " " +
                                text);
      }
    }
  }
  return differences;
}

std::string difference(const NodeCase& c, const NodeResult& expected, const NodeResult& got) {
  if (!got.violation.empty()) return c.name + " " + got.violation;
  const OpCard& card = *c.node->card;
  for (size_t o = 0; o < expected.out.size(); ++o) {
    const Type& type = c.graph->info(c.node->out[o]).type;
    const std::string text = kTolerances.contains(card.name)
                                 ? first_difference(expected.out[o], got.out[o], type, tolerance_of(card, type))
                                 : byte_difference(expected.out[o], got.out[o], type);
    if (!text.empty()) return c.name + ": output " + std::to_string(o) + " " + text;
  }
  return "";
}

}  // namespace shardit

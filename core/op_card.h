// The op card: all that anyone needs to know about an op. No other code switches over op kinds.
#pragma once

#include <algorithm>
#include <cstddef>
#include <functional>
#include <span>

#include "core/graph.h"
#include "core/pool.h"
#include "core/stream.h"

namespace shardit {

// What a tensor is to the arithmetic; the cast pass turns it into a type by one table (docs/precision.md).
enum class Role : uint8_t {
  kCompute,         // inputs and outputs of matrix products: precision.compute
  kStream,          // where a residual stream begins: precision.residual
  kExact,           // statistics, losses, optimizer state: fp32
  kWeightGradient,  // fp32, rounded to precision.reduce before it is folded
  kAny,             // inputs: taken as they come; outputs: the type of the first input
  kFixed,           // integers, fp64 and what the op itself decides: left alone
};

struct Cost {
  double matmul_flops = 0;  // 2 per multiply-add of matrix products: what MFU counts
  double flops = 0;         // all others
  double bytes = 0;         // read and written once each: the floor of a memory-bound kernel
  double wire_bytes = 0;    // sent by one rank to others
  Cost& operator+=(const Cost& o);
};

// How an output's memory relates to an input's.
struct Alias {
  enum Kind : uint8_t {
    kReuse,   // may share: the kernel reads each element before it writes it, and the planner has proven `in` dead
    kUpdate,  // must share: an in-place update; nobody reads the old value later (the verifier checks)
    kView,    // the output is a window of the input
    kPlace,   // the input is a window of the output: its producer writes straight into place
  } kind;
  int in = 0, out = 0;
  int64_t offset = 0;  // elements into the larger of the two, for kView and kPlace
};

// What shape rules, costs and aliases look at: a node with its types resolved.
struct NodeTypes {
  const Attrs* attrs = nullptr;
  std::vector<Type> in, out;
  DType real = DType::kF32;

  template <typename T> const T& attr() const { return static_cast<const T&>(*attrs); }
  const Shape& in_shape(int i) const { return in[i].shape; }
  Type real_of(const Shape& shape) const { return {real, shape}; }
};
NodeTypes types_of(const Graph& graph, const Node& node);

struct TensorRef {
  void* data = nullptr;
  Type type;
  template <typename T> T* as() const { return static_cast<T*>(data); }
  int64_t numel() const { return type.shape.numel(); }
  const Shape& shape() const { return type.shape; }
  DType dtype() const { return type.dtype; }
};

// State that a kernel makes once, when the executor is built: library primitives, tables.
struct Prepared {
  virtual ~Prepared() = default;
};

struct KernelArgs {
  std::span<const TensorRef> in, out;
  const Attrs* attrs = nullptr;
  const Prepared* prepared = nullptr;
  std::byte* workspace = nullptr;  // the card's scratch, 64-byte aligned
  Pool* pool = nullptr;

  template <typename T> const T& attr() const { return static_cast<const T&>(*attrs); }
};

struct GradArgs {
  Graph& graph;
  const Attrs* attrs;
  std::shared_ptr<const Attrs> shared_attrs;
  std::vector<Value> in, out;
  std::vector<Value> dout;  // empty Value where no gradient arrives

  template <typename T> const T& attr() const { return static_cast<const T&>(*attrs); }
};

// One case for the sweep: how to build the op on inputs of these types.
struct Sample {
  std::vector<Type> in;  // kF32 stands for the graph's real type
  std::function<std::vector<Value>(const std::vector<Value>&)> build;
  // Fills integer inputs (labels, time steps): element i of input k. Floating inputs get keyed normals.
  std::function<int64_t(int input, int64_t i)> integer = [](int, int64_t i) { return i % 3; };
  std::vector<int> positive = {};     // floating inputs that must be > 0 (variances, sigmas)
  std::vector<int> no_gradient = {};  // floating inputs the formula does not differentiate (stopped, keyed tables)
  std::vector<int> no_output_gradient = {};  // outputs whose gradient the rule does not take (statistics)
};
using Samples = std::vector<Sample>;

struct OpCard {
  const char* name;
  std::vector<Type> (*shape)(const NodeTypes&);  // throws UserError on shapes that do not fit
  std::vector<Value> (*grad)(const GradArgs&) =
      nullptr;  // one per input, empty where none flows; null: not differentiable
  Cost (*cost)(const NodeTypes&);
  std::vector<Role> in_roles, out_roles;  // the last one repeats for further inputs or outputs
  void (*cpu)(const KernelArgs&);
  void (*cuda)(const KernelArgs&, void* stream) = nullptr;  // null in a build without CUDA
  bool constant = false;  // depends on nothing but its attributes: computed once, before the first run
  std::vector<Alias> (*alias)(const NodeTypes&) = nullptr;
  // Bytes of scratch, and state made once per node, of the CPU's kernel and of the device's: a program uses those of
  // the device it runs on.
  int64_t (*workspace)(const NodeTypes&, int threads) = nullptr;
  int64_t (*cuda_workspace)(const NodeTypes&) = nullptr;
  std::unique_ptr<Prepared> (*prepare)(const NodeTypes&) = nullptr;
  std::unique_ptr<Prepared> (*cuda_prepare)(const NodeTypes&) = nullptr;
  Stream stream = Stream::kCompute;
  std::vector<Value> (*expand)(const std::vector<Value>& in, const Attrs*) = nullptr;  // a fused op in small ops
  Samples (*samples)() = nullptr;

  Role in_role(size_t i) const { return in_roles[std::min(i, in_roles.size() - 1)]; }
  Role out_role(size_t i) const { return out_roles[std::min(i, out_roles.size() - 1)]; }
};

// Whether running the node touches memory: inputs are there, and a window is only another name.
bool touches_memory(const Graph& graph, const Node& node);

// The bytes of all inputs and outputs, each once: the cost of a streaming kernel.
double streamed(const NodeTypes& node);

// ---- the one op that core owns -----------------------------------------------------------------------------------

// A tensor that is there before the graph runs: a parameter, a batch, a scalar of the step.
struct InputAttrs : Attrs {
  std::string name;
  Type type;
  Role role = Role::kFixed;
  std::string text() const override { return name; }
};
extern const OpCard input_card;

// `name` is the persistent buffer that holds it; graphs of one program share buffers by name.
Value input(Graph& graph, const std::string& name, Type type, BufferClass buffer_class, Role role = Role::kFixed,
            int slots = 1);

}  // namespace shardit

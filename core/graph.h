// The graph: a model as formulas on whole tensors, written once; gradients, precision, sharding and memory are passes.
//
// A node applies one op card to values and makes new values; nodes stand in an order in which they may run. Shapes are
// static. Every node carries a label ("blocks.7.attn.qkv") and the source line of the formula it came from; errors,
// dumps and traces name both. A Value is a light handle, valid as long as its graph stays in place; its id survives a
// copy of the graph, so passes take a Graph by value and return it.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <source_location>
#include <string>
#include <vector>

#include "core/dtype.h"
#include "core/shape.h"
#include "core/stream.h"

namespace shardit {

class Graph;
struct OpCard;

struct Type {
  DType dtype = DType::kF32;
  Shape shape;
  int64_t bytes() const { return shape.numel() * static_cast<int64_t>(size_of(dtype)); }
  bool operator==(const Type&) const = default;
  std::string str() const { return std::string(name_of(dtype)) + shape.str(); }
};

struct Value {
  Graph* graph = nullptr;
  int id = -1;

  explicit operator bool() const { return graph != nullptr; }
  const Type& type() const;
  const Shape& shape() const { return type().shape; }
  DType dtype() const { return type().dtype; }
};

// Base of each op's attribute struct, which only the op's builder makes. Attributes hold what no layout divides: a
// stride, an epsilon, a table; never a batch size.
struct Attrs {
  virtual ~Attrs() = default;
  virtual std::string text() const { return ""; }  // for dumps and for comparing nodes: equal text, equal attributes
};

// Which part of memory a named buffer is counted under (`shardit plan`).
enum class BufferClass : uint8_t {
  kParameters,
  kGradients,
  kOptimizer,
  kEma,
  kActivations,
  kStaging,
  kWire,
  kWorkspace,
  kHostCopies  // in host memory, of buffers that the host fills or reads on a device apart
};
const char* name_of(BufferClass buffer_class);

struct Node {
  const OpCard* card = nullptr;
  std::vector<int> in, out;  // value ids
  std::shared_ptr<const Attrs> attrs;
  std::string label;
  std::string unit;  // the unit whose formula this is ("blocks.7"), empty outside units
  std::source_location where;
  bool backward = false;
  int recompute_of = -1;             // the node this one replays, or -1
  Stream stream = Stream::kCompute;  // the card's, unless a pass moved it
  std::vector<int> after;  // nodes that must be over before this one starts, though it reads nothing of theirs: how a
                           // pass bounds what is in flight between streams

  template <typename T> const T& attr() const { return static_cast<const T&>(*attrs); }
};

// Where a value comes from, and the named memory it lives in if it outlives a run of the graph.
struct ValueInfo {
  Type type;
  int node = -1;
  int output = 0;
  std::string buffer;  // name of a persistent buffer, shared by all graphs of a program; empty: transient
  BufferClass buffer_class = BufferClass::kActivations;
  int slots = 1;  // 2: double buffered, the executor alternates
};

class Graph {
 public:
  // The floating type that formulas are written in: fp32, or fp64 when the sweep checks gradients.
  explicit Graph(DType real = DType::kF32) : real_(real) {}

  // Applies `card`: checks shapes, adds a node, returns its outputs.
  std::vector<Value> add(const OpCard& card, const std::vector<Value>& in,
                         std::shared_ptr<const Attrs> attrs = nullptr);
  Value add1(const OpCard& card, const std::vector<Value>& in, std::shared_ptr<const Attrs> attrs = nullptr) {
    return add(card, in, std::move(attrs))[0];
  }

  // Gives `value` a name in this graph, by which the executor's caller finds it, and keeps it past the graph's end in
  // the persistent buffer of that name.
  void keep(Value value, const std::string& name, BufferClass buffer_class = BufferClass::kActivations);
  // A result by name, for passes and tests; does not make it persistent.
  void name_output(Value value, const std::string& name) { outputs_[name] = value.id; }

  Value value(int id) { return {this, id}; }
  std::optional<Value> output(const std::string& name);
  const std::map<std::string, int>& outputs() const { return outputs_; }

  DType real() const { return real_; }
  int node_count() const { return static_cast<int>(nodes_.size()); }
  int value_count() const { return static_cast<int>(values_.size()); }
  const Node& node(int i) const { return nodes_[i]; }
  Node& node(int i) { return nodes_[i]; }
  const ValueInfo& info(int value) const { return values_[value]; }
  ValueInfo& info(int value) { return values_[value]; }
  const Node& producer(int value) const { return nodes_[values_[value].node]; }
  std::vector<std::vector<int>> consumers() const;  // per value: node indices, in order, one entry per use

  // Nodes added while a Scope lives get its label, unit and source line.
  class Scope {
   public:
    ~Scope();
    Scope(const Scope&) = delete;

   private:
    Scope(Graph& graph, std::string label, std::string unit, std::source_location where);
    Graph& graph_;
    std::string label_, unit_;
    std::source_location where_;
    friend class Graph;
  };
  [[nodiscard]] Scope scope(const std::string& name, std::source_location where = std::source_location::current());
  // A scope that is also a unit: the step in which recomputation, gathers and gradient statistics count. Its label
  // stands alone, whoever calls the formula.
  [[nodiscard]] Scope unit_scope(const std::string& name, std::source_location where = std::source_location::current());
  // The context of an existing node, for passes that add nodes on its behalf; `prefix` goes before the label.
  [[nodiscard]] Scope scope_of(const Node& node, const std::string& prefix);

  // For passes: appends a node as it is, with given output types; no shape rule is run.
  std::vector<Value> append(Node node, const std::vector<ValueInfo>& outputs);
  void set_backward(bool backward) { backward_ = backward; }

  std::string dump() const;  // one line per node: label, op, attributes, types, source line

 private:
  DType real_;
  std::vector<Node> nodes_;
  std::vector<ValueInfo> values_;
  std::map<std::string, int> outputs_;
  std::string nested(const std::string& name) const;  // `name` inside the current label

  std::string label_, unit_;
  std::source_location where_;
  bool backward_ = false;
};

}  // namespace shardit

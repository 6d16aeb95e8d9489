#include "core/verify.h"

#include <glog/logging.h>
#include "core/error.h"
#include "core/op_card.h"
#include "core/windows.h"

namespace shardit {
namespace {

std::string describe(const Graph& graph, int index) {
  const Node& node = graph.node(index);
  return "node " + std::to_string(index) + " " + node.label + " (" + node.card->name + "): ";
}

std::string check_edges(const Graph& graph, int index) {
  const Node& node = graph.node(index);
  if (node.label.empty()) return "has no label";
  for (int v : node.in) {
    if (v < 0 || v >= graph.value_count()) return "reads a value that does not exist";
    if (graph.info(v).node >= index) return "reads a value before it is made";
  }
  for (int before : node.after) {
    if (before < 0 || before >= index) return "waits for a node that does not stand before it";
    if (graph.node(before).card == &input_card) return "waits for an input, which signals nothing";
  }
  for (size_t i = 0; i < node.out.size(); ++i) {
    const ValueInfo& info = graph.info(node.out[i]);
    if (info.node != index || info.output != static_cast<int>(i)) return "an output names another producer";
  }
  return "";
}

std::string check_shapes(const NodeTypes& types, const Node& node) {
  std::vector<Type> expected;
  try {
    expected = node.card->shape(types);
  } catch (const UserError& e) {
    return e.what();
  }
  if (expected.size() != types.out.size()) return "has another number of outputs than its shape rule gives";
  for (size_t i = 0; i < expected.size(); ++i) {
    if (!(expected[i].shape == types.out[i].shape))
      return "output " + std::to_string(i) + " is " + types.out[i].shape.str() + ", its shape rule gives " +
             expected[i].shape.str();
    if (is_floating(expected[i].dtype) != is_floating(types.out[i].dtype))
      return "output " + std::to_string(i) + " is " + name_of(types.out[i].dtype) + ", its shape rule gives " +
             name_of(expected[i].dtype);
  }
  return "";
}

std::string check_windows(const NodeTypes& types, const Node& node) {
  if (!node.card->alias) return "";
  for (const Alias& alias : node.card->alias(types)) {
    const Type &in = types.in[alias.in], &out = types.out[alias.out];
    const Type& window = alias.kind == Alias::kView ? out : in;
    const Type& whole = alias.kind == Alias::kView ? in : out;
    if (alias.kind == Alias::kView || alias.kind == Alias::kPlace) {
      if (window.dtype != whole.dtype) return "a window has another type than the tensor it lies in";
      if (alias.offset < 0 || alias.offset + window.shape.numel() > whole.shape.numel())
        return "a window reaches outside the tensor it lies in";
    } else if (alias.kind == Alias::kUpdate && !(in == out)) {
      return "an in-place update changes the type from " + in.str() + " to " + out.str();
    }
  }
  return "";
}

// After an in-place update nobody may read the old value, nor a view of it.
std::string check_updates(const Graph& graph, const std::vector<Extent>& extents,
                          const std::vector<std::vector<int>>& consumers, int index) {
  for (int reader : readers_of_overwritten(graph, extents, consumers, index))
    if (reader > index) return "updates a value in place that " + graph.node(reader).label + " still reads";
  return "";
}

// Whether every edge leads to a value that exists, so that types and aliases can be looked at.
std::string check_all_edges(const Graph& graph) {
  for (int i = 0; i < graph.node_count(); ++i) {
    const std::string problem = check_edges(graph, i);
    if (!problem.empty()) return describe(graph, i) + problem;
  }
  return "";
}

}  // namespace

std::string find_violation(const Graph& graph) {
  if (const std::string problem = check_all_edges(graph); !problem.empty()) return problem;
  for (int i = 0; i < graph.node_count(); ++i) {
    const NodeTypes types = types_of(graph, graph.node(i));
    std::string problem = check_shapes(types, graph.node(i));
    if (problem.empty()) problem = check_windows(types, graph.node(i));
    if (!problem.empty()) return describe(graph, i) + problem;
  }
  const auto consumers = graph.consumers();
  const std::vector<Extent> extents = find_extents(graph);
  for (int i = 0; i < graph.node_count(); ++i) {
    const std::string problem = check_updates(graph, extents, consumers, i);
    if (!problem.empty()) return describe(graph, i) + problem;
  }
  return "";
}

void verify(const Graph& graph, const std::string& stage) {
  const std::string violation = find_violation(graph);
  CHECK(violation.empty()) << "after " << stage << ": " << violation;
}

}  // namespace shardit

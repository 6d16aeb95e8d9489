#include "core/op_card.h"

#include <glog/logging.h>

namespace shardit {

Cost& Cost::operator+=(const Cost& o) {
  matmul_flops += o.matmul_flops;
  flops += o.flops;
  bytes += o.bytes;
  wire_bytes += o.wire_bytes;
  return *this;
}

NodeTypes types_of(const Graph& graph, const Node& node) {
  NodeTypes types{.attrs = node.attrs.get(), .real = graph.real()};
  for (int v : node.in) types.in.push_back(graph.info(v).type);
  for (int v : node.out) types.out.push_back(graph.info(v).type);
  return types;
}

bool touches_memory(const Graph& graph, const Node& node) {
  if (node.card == &input_card) return false;
  if (!node.card->alias) return true;
  const std::vector<Alias> aliases = node.card->alias(types_of(graph, node));
  size_t windows = 0;
  for (const Alias& a : aliases) windows += a.kind == Alias::kView;
  return windows < node.out.size();
}

double streamed(const NodeTypes& node) {
  double bytes = 0;
  for (const Type& t : node.in) bytes += static_cast<double>(t.bytes());
  for (const Type& t : node.out) bytes += static_cast<double>(t.bytes());
  return bytes;
}

const OpCard input_card = {
    .name = "input",
    .shape = [](const NodeTypes& n) { return std::vector{n.attr<InputAttrs>().type}; },
    .cost = [](const NodeTypes&) { return Cost{}; },
    .in_roles = {Role::kFixed},
    .out_roles = {Role::kFixed},  // each input states its own
    .cpu = [](const KernelArgs&) {},
};

Value input(Graph& graph, const std::string& name, Type type, BufferClass buffer_class, Role role, int slots) {
  auto attrs = std::make_shared<InputAttrs>();
  attrs->name = name;
  attrs->type = type;
  attrs->role = role;
  const Value value = graph.add1(input_card, {}, attrs);
  ValueInfo& info = graph.info(value.id);
  info.buffer = name;
  info.buffer_class = buffer_class;
  info.slots = slots;
  graph.node(info.node).label = name;
  return value;
}

}  // namespace shardit

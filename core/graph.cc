#include "core/graph.h"

#include <filesystem>
#include <utility>

#include <glog/logging.h>
#include "core/error.h"
#include "core/op_card.h"

namespace shardit {

const Type& Value::type() const { return graph->info(id).type; }

const char* name_of(BufferClass buffer_class) {
  constexpr const char* kNames[] = {"parameters", "gradients", "optimizer", "ema", "activations",
                                    "staging",    "wire",      "workspace", "host"};
  return kNames[static_cast<int>(buffer_class)];
}

std::vector<Value> Graph::add(const OpCard& card, const std::vector<Value>& in, std::shared_ptr<const Attrs> attrs) {
  Node node{.card = &card, .attrs = std::move(attrs)};
  NodeTypes types{.attrs = node.attrs.get(), .real = real_};
  for (const Value& v : in) {
    CHECK(v.graph == this) << card.name << ": an input belongs to another graph";
    node.in.push_back(v.id);
    types.in.push_back(v.type());
  }
  node.label = label_.empty() ? card.name : label_;
  node.unit = unit_;
  node.where = where_;
  node.backward = backward_;
  node.stream = card.stream;
  std::vector<Type> out_types;
  try {
    out_types = card.shape(types);
  } catch (const UserError& e) {
    throw UserError(node.label + ": " + card.name + ": " + e.what());
  }
  std::vector<ValueInfo> outputs;
  for (const Type& type : out_types) outputs.push_back({.type = type});
  return append(std::move(node), outputs);
}

std::vector<Value> Graph::append(Node node, const std::vector<ValueInfo>& outputs) {
  const int index = node_count();
  node.out.clear();
  std::vector<Value> result;
  for (const ValueInfo& output : outputs) {
    node.out.push_back(value_count());
    result.push_back({this, value_count()});
    values_.push_back(output);
    values_.back().node = index;
    values_.back().output = static_cast<int>(result.size()) - 1;
  }
  nodes_.push_back(std::move(node));
  return result;
}

void Graph::keep(Value value, const std::string& name, BufferClass buffer_class) {
  ValueInfo& info = values_[value.id];
  CHECK(info.buffer.empty() || info.buffer == name) << "value kept as " << info.buffer << " and as " << name;
  info.buffer = name;
  info.buffer_class = buffer_class;
  outputs_[name] = value.id;
}

std::optional<Value> Graph::output(const std::string& name) {
  const auto it = outputs_.find(name);
  if (it == outputs_.end()) return std::nullopt;
  return value(it->second);
}

std::vector<std::vector<int>> Graph::consumers() const {
  std::vector<std::vector<int>> result(values_.size());
  for (int n = 0; n < node_count(); ++n)
    for (int v : nodes_[n].in) result[v].push_back(n);
  return result;
}

Graph::Scope::Scope(Graph& graph, std::string label, std::string unit, std::source_location where)
    : graph_(graph),
      label_(std::exchange(graph.label_, std::move(label))),
      unit_(std::exchange(graph.unit_, std::move(unit))),
      where_(std::exchange(graph.where_, where)) {}

Graph::Scope::~Scope() {
  graph_.label_ = label_;
  graph_.unit_ = unit_;
  graph_.where_ = where_;
}

std::string Graph::nested(const std::string& name) const {
  return label_.empty() || name.empty() ? label_ + name : label_ + "." + name;
}

Graph::Scope Graph::scope(const std::string& name, std::source_location where) {
  return Scope(*this, nested(name), unit_, where);
}

Graph::Scope Graph::unit_scope(const std::string& name, std::source_location where) {
  return Scope(*this, name, name, where);
}

Graph::Scope Graph::scope_of(const Node& node, const std::string& prefix) {
  return Scope(*this, prefix + node.label, node.unit, node.where);
}

std::string Graph::dump() const {
  std::string text;
  const auto value_text = [&](int v) { return "%" + std::to_string(v) + ":" + values_[v].type.str(); };
  for (const Node& node : nodes_) {
    for (size_t i = 0; i < node.out.size(); ++i) text += (i ? ", " : "") + value_text(node.out[i]);
    text += std::string(" = ") + node.card->name;
    if (node.attrs && !node.attrs->text().empty()) text += "{" + node.attrs->text() + "}";
    text += "(";
    for (size_t i = 0; i < node.in.size(); ++i) text += (i ? ", " : "") + value_text(node.in[i]);
    text += ")  # " + node.label;
    for (int v : node.out)
      if (!values_[v].buffer.empty()) text += "  [" + values_[v].buffer + "]";
    if (node.where.line() != 0)
      text += "  " + std::filesystem::path(node.where.file_name()).filename().string() + ":" +
              std::to_string(node.where.line());
    for (int n : node.after) text += "  after " + nodes_[n].label;
    text += "\n";
  }
  return text;
}

}  // namespace shardit

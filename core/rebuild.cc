#include "core/rebuild.h"

#include <glog/logging.h>

namespace shardit {

Rebuild::Rebuild(const Graph& from)
    : from_(from),
      to_(from.real()),
      map_(from.value_count(), -1),
      nodes_(from.node_count(), -1) {}

Value Rebuild::mapped(int old_value) {
  CHECK_GE(map_[old_value], 0) << from_.producer(old_value).label << " was removed";
  return to_.value(map_[old_value]);
}

Node Rebuild::renamed(int index, const View& reads) const {
  Node node = from_.node(index);
  for (int& v : node.in) {
    CHECK_GE(reads[v], 0) << node.label << " reads a value that was removed";
    v = reads[v];
  }
  if (node.recompute_of >= 0) node.recompute_of = nodes_[node.recompute_of];
  for (int& n : node.after) {
    CHECK_GE(nodes_[n], 0) << node.label << " waits for a node that was removed";
    n = nodes_[n];
  }
  return node;
}

std::vector<ValueInfo> Rebuild::output_infos(int index) const {
  std::vector<ValueInfo> infos;
  for (int v : from_.node(index).out) infos.push_back(from_.info(v));
  return infos;
}

void Rebuild::place(int index, const View& reads) {
  const std::vector<Value> made = to_.append(renamed(index, reads), output_infos(index));
  for (size_t i = 0; i < made.size(); ++i) map_[from_.node(index).out[i]] = made[i].id;
  nodes_[index] = to_.node_count() - 1;
}

void Rebuild::copy_with(int index, const View& view) { place(index, view); }

void Rebuild::clone(int index, View& view, bool backward) {
  Node node = renamed(index, view);
  node.backward = backward;
  node.recompute_of = nodes_[index];
  node.label = "again " + node.label;
  std::vector<ValueInfo> infos = output_infos(index);
  for (ValueInfo& info : infos) info.buffer.clear();  // a kept value is kept once
  const std::vector<Value> made = to_.append(std::move(node), infos);
  for (size_t i = 0; i < made.size(); ++i) view[from_.node(index).out[i]] = made[i].id;
}

Graph Rebuild::finish() {
  for (const auto& [name, v] : from_.outputs())
    if (map_[v] >= 0 && !dropped_.contains(name)) to_.name_output(to_.value(map_[v]), name);
  return std::move(to_);
}

}  // namespace shardit

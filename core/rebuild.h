// Copying a graph node by node, with changes on the way: what passes are made of.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "core/graph.h"

namespace shardit {

class Rebuild {
 public:
  explicit Rebuild(const Graph& from);

  void copy(int node) { place(node, map_); }  // the node as it is, reading what its inputs became
  void replace(int old_value, Value by) { map_[old_value] = by.id; }
  Value mapped(int old_value);                                          // what an old value became
  int node_of(int old_node) const { return nodes_[old_node]; }          // the newest copy of an old node
  void drop_output(const std::string& name) { dropped_.insert(name); }  // the new graph has none of that name

  // A second copy of a node that was copied before; its outputs are seen only by clones made with the same `view` and
  // by nodes copied with it.
  using View = std::vector<int>;  // old value -> new value
  View view() const { return map_; }
  void clone(int node, View& view, bool backward);
  void copy_with(int node, const View& view);  // the node reads through `view`, its outputs are everybody's

  Graph& graph() { return to_; }
  Graph finish();  // with the outputs that still exist

 private:
  void place(int node, const View& reads);
  Node renamed(int node, const View& reads) const;
  std::vector<ValueInfo> output_infos(int node) const;

  const Graph& from_;
  Graph to_;
  View map_;
  std::vector<int> nodes_;  // old node -> new node
  std::set<std::string> dropped_;
};

}  // namespace shardit

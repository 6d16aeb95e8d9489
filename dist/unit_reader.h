// How a graph reads the units of a layout: what the passes that gather them take away and put elsewhere.
#pragma once

#include <string>
#include <vector>

#include "core/graph.h"
#include "core/layout.h"

namespace shardit {

struct UnitReader {
  const Unit* unit = nullptr;
  int input = -1;          // the node that is the buffer SOURCE.UNIT
  int cast = -1;           // the node that casts the whole unit, -1 if none does
  int whole = -1;          // the value that is read: the cast's, else the input's
  std::vector<int> views;  // nodes that take the unit apart: they move no bytes
  std::vector<int> uses;   // nodes that read the unit, or a part of it, in order

  bool gone_with_the_shard(int node) const;  // whether the node stands for the whole unit, and goes when it does
};

// In the layout's order; units that the graph does not read are left out.
std::vector<UnitReader> find_unit_readers(const Graph& graph, const Layout& layout, const std::string& source);

}  // namespace shardit

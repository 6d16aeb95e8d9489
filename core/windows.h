// Which values lie in the same bytes because their ops say so: views of a tensor, tensors written straight into their
// place, in-place updates. What the planner may do beyond that (core/lifetimes.h) never makes two live values meet.
#pragma once

#include <vector>

#include "core/graph.h"

namespace shardit {

// The bytes [begin, end) of value `root`.
struct Extent {
  int root = -1;
  int64_t begin = 0, end = 0;
  bool overlaps(const Extent& o) const { return root == o.root && begin < o.end && o.begin < end; }
};

// By value id. A value and its update in place have one extent.
std::vector<Extent> find_extents(const Graph& graph);

// The nodes that read what node `index` overwrites in place, each once per use: readers of the value itself and of
// every value that was made before and lies in the same bytes. `index` itself is left out.
std::vector<int> readers_of_overwritten(const Graph& graph, const std::vector<Extent>& extents,
                                        const std::vector<std::vector<int>>& consumers, int index);

}  // namespace shardit

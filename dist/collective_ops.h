// Collectives as ops: nodes on the wire stream, whose attributes hold the group. Nothing else in a graph knows of
// ranks.
//
// In a group of one each function returns its input: there is nothing to move and no node.
// Flat tensors; "rank" is a rank of the group; `label` is what traces and the watchdog call the node's call.
#pragma once

#include <optional>
#include <string>

#include "core/op_card.h"
#include "dist/mesh.h"

namespace shardit {

// (n) on every rank -> (size * n): part p is rank p's.
Value all_gather(Value part, const Group& group, const std::string& label);

// (size * n) on every rank -> (size * n): part p is what rank p had as its part number `rank`.
Value all_to_all(Value whole, const Group& group, const std::string& label);

// fp32 (size * n) on every rank -> (n): the sum over ranks of their parts number `rank`, in whatever order is fastest.
Value reduce_scatter(Value whole, const Group& group, const std::string& label);

// How a node moves bytes, for predictions.
struct Collective {
  std::string group;  // its name
  int ranks = 1;
  // Each rank sends to each other what that one gets; else from neighbour to neighbour, around a ring.
  bool direct = false;
};
std::optional<Collective> collective_of(const Node& node);

}  // namespace shardit

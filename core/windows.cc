#include "core/windows.h"

#include "core/op_card.h"

namespace shardit {
namespace {

// All that lies in `inner` lies `offset` bytes into `outer` from now on.
void move_into(std::vector<Extent>& extents, int inner, const Extent& outer, int64_t offset) {
  for (Extent& e : extents)
    if (e.root == inner) e = {outer.root, outer.begin + offset + e.begin, outer.begin + offset + e.end};
}

}  // namespace

std::vector<Extent> find_extents(const Graph& graph) {
  std::vector<Extent> extents;
  for (int v = 0; v < graph.value_count(); ++v) extents.push_back({v, 0, graph.info(v).type.bytes()});
  for (int n = 0; n < graph.node_count(); ++n) {
    const Node& node = graph.node(n);
    if (!node.card->alias) continue;
    for (const Alias& a : node.card->alias(types_of(graph, node))) {
      const int in = node.in[a.in], out = node.out[a.out];
      const int64_t offset = a.offset * static_cast<int64_t>(size_of(graph.info(in).type.dtype));
      if (a.kind == Alias::kView || a.kind == Alias::kUpdate) move_into(extents, out, extents[in], offset);
      if (a.kind == Alias::kPlace && extents[in].root == in) move_into(extents, in, extents[out], offset);
    }
  }
  return extents;
}

std::vector<int> readers_of_overwritten(const Graph& graph, const std::vector<Extent>& extents,
                                        const std::vector<std::vector<int>>& consumers, int index) {
  std::vector<int> readers;
  const Node& node = graph.node(index);
  if (!node.card->alias) return readers;
  for (const Alias& a : node.card->alias(types_of(graph, node))) {
    if (a.kind != Alias::kUpdate) continue;
    for (int v = 0; v < graph.value_count(); ++v) {
      if (graph.info(v).node >= index || !extents[v].overlaps(extents[node.in[a.in]])) continue;
      for (int reader : consumers[v])
        if (reader != index) readers.push_back(reader);
    }
  }
  return readers;
}

}  // namespace shardit

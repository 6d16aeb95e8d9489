#include <map>
#include <set>

#include "core/op_card.h"
#include "core/passes.h"
#include "core/rebuild.h"

namespace shardit {
namespace {

// The forward values of each unit that its backward reads and that are to be computed again.
class Choice {
 public:
  Choice(const Graph& graph, Recompute policy) : graph_(graph), policy_(policy), read_(graph.value_count(), false) {
    for (int n = 0; n < graph.node_count(); ++n)
      if (graph.node(n).backward)
        for (int v : graph.node(n).in) read_[v] = true;
  }

  // Whether backward node `n` should read its input `v` from a clone.
  bool again(int n, int v) const {
    const Node &reader = graph_.node(n), &producer = graph_.producer(v);
    const bool inner = reader.backward && !producer.backward && !producer.unit.empty() && producer.unit == reader.unit;
    return inner && recomputable(graph_.info(v).node);
  }

  // Whether a clone of node `n` may stand for it; its inputs come from clones where they may, else they are kept.
  bool recomputable(int n) const {
    const Node& node = graph_.node(n);
    if (node.card == &input_card || node.in.empty()) return false;
    if (policy_ == Recompute::kBlock) return true;
    if (node.card->cost(types_of(graph_, node)).matmul_flops > 0) return false;
    for (int v : node.in) {
      const Node& producer = graph_.producer(v);
      const bool kept = read_[v] || producer.card == &input_card;
      if (!kept) return false;
    }
    return true;
  }

 private:
  const Graph& graph_;
  Recompute policy_;
  std::vector<bool> read_;
};

// The forward nodes of the unit that must be cloned to give `wanted`, in order.
void collect(const Graph& graph, const Choice& choice, const std::string& unit, int value, std::set<int>& nodes) {
  const int n = graph.info(value).node;
  if (graph.node(n).unit != unit || graph.node(n).backward || !choice.recomputable(n) || !nodes.insert(n).second)
    return;
  for (int v : graph.node(n).in) collect(graph, choice, unit, v, nodes);
}

}  // namespace

Graph recompute(const Graph& graph, Recompute policy) {
  if (policy == Recompute::kNone) return graph;
  const Choice choice(graph, policy);
  std::map<std::string, std::set<int>> clones;  // unit -> forward nodes
  for (int n = 0; n < graph.node_count(); ++n)
    for (int v : graph.node(n).in)
      if (choice.again(n, v)) collect(graph, choice, graph.node(n).unit, v, clones[graph.node(n).unit]);

  Rebuild rebuild(graph);
  std::map<std::string, Rebuild::View> views;  // units whose clones stand already
  for (int n = 0; n < graph.node_count(); ++n) {
    const Node& node = graph.node(n);
    bool any = false;
    for (int v : node.in) any = any || choice.again(n, v);
    if (!any) {
      rebuild.copy(n);
      continue;
    }
    auto [it, first] = views.try_emplace(node.unit, rebuild.view());
    if (first)
      for (int f : clones.at(node.unit)) rebuild.clone(f, it->second, true);
    Rebuild::View reads = rebuild.view();
    for (int v : node.in)
      if (choice.again(n, v)) reads[v] = it->second[v];
    rebuild.copy_with(n, reads);
  }
  return rebuild.finish();
}

}  // namespace shardit

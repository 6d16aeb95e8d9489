#include "core/passes.h"

#include <algorithm>
#include <map>

#include <glog/logging.h>
#include "core/op_card.h"
#include "core/rebuild.h"

namespace shardit {
namespace {

bool updates_in_place(const Graph& graph, const Node& node) {
  if (!node.card->alias) return false;
  const auto aliases = node.card->alias(types_of(graph, node));
  return std::any_of(aliases.begin(), aliases.end(), [](const Alias& a) { return a.kind == Alias::kUpdate; });
}

}  // namespace

Graph prune(const Graph& graph) {
  std::vector<bool> needed(graph.node_count(), false);
  for (const auto& [name, v] : graph.outputs()) needed[graph.info(v).node] = true;
  for (int n = graph.node_count() - 1; n >= 0; --n) {
    const Node& node = graph.node(n);
    if (!needed[n]) needed[n] = updates_in_place(graph, node);
    if (!needed[n]) continue;
    for (int v : node.in) needed[graph.info(v).node] = true;
  }
  Rebuild rebuild(graph);
  for (int n = 0; n < graph.node_count(); ++n)
    if (needed[n]) rebuild.copy(n);
  return rebuild.finish();
}

Graph hoist_constants(const Graph& graph, Graph& prologue) {
  Rebuild rebuild(graph);
  std::map<std::string, int> inputs;  // buffer name -> value in the new graph
  for (int n = 0; n < graph.node_count(); ++n) {
    const Node& node = graph.node(n);
    if (!node.card->constant) {
      rebuild.copy(n);
      continue;
    }
    const int v = node.out[0];
    const Type type = graph.info(v).type;
    const std::string name = std::string("constant.") + node.card->name + "." + (node.attrs ? node.attrs->text() : "") +
                             "." + name_of(type.dtype);
    if (!prologue.outputs().contains(name)) {
      Node moved = node;
      prologue.keep(prologue.append(std::move(moved), {graph.info(v)})[0], name, BufferClass::kParameters);
    }
    if (!inputs.contains(name)) inputs[name] = input(rebuild.graph(), name, type, BufferClass::kParameters).id;
    rebuild.replace(v, rebuild.graph().value(inputs[name]));
  }
  return rebuild.finish();
}

}  // namespace shardit

#include "ops/fuse.h"

#include <algorithm>
#include <map>
#include <optional>

#include "core/rebuild.h"
#include "ops/ops.h"

namespace shardit {
namespace {

// A fused card's expansion on its first sample's shapes: the pattern to look for.
struct Pattern {
  const OpCard* card;
  Graph graph;
  std::vector<Value> in, out;

  explicit Pattern(const OpCard* fused) : card(fused) {
    const Sample sample = fused->samples()[0];
    for (size_t k = 0; k < sample.in.size(); ++k)
      in.push_back(input(graph, "in" + std::to_string(k), sample.in[k], BufferClass::kActivations));
    out = fused->expand(in, nullptr);
  }
};

struct Match {
  std::map<int, int> value;  // pattern value -> graph value
  std::vector<int> nodes;    // graph nodes, the root last
};

// Binds pattern node `p` to graph node `n`, and their inputs in turn.
bool bind(const Pattern& pattern, const Graph& graph, int p, int n, Match& match) {
  const Node &want = pattern.graph.node(p), &have = graph.node(n);
  const auto text = [](const Node& node) { return node.attrs ? node.attrs->text() : ""; };
  if (want.card != have.card || want.in.size() != have.in.size() || text(want) != text(have)) return false;
  for (size_t i = 0; i < want.in.size(); ++i) {
    const int producer = pattern.graph.info(want.in[i]).node;
    const bool leaf = pattern.graph.node(producer).card == &input_card;
    if (!leaf && !match.value.contains(want.in[i]) &&
        !bind(pattern, graph, producer, graph.info(have.in[i]).node, match))
      return false;
    const auto [it, fresh] = match.value.try_emplace(want.in[i], have.in[i]);
    if (!fresh && it->second != have.in[i]) return false;
  }
  for (size_t i = 0; i < want.out.size(); ++i) match.value[want.out[i]] = have.out[i];
  match.nodes.push_back(n);
  return true;
}

// A match may be replaced if its nodes run in one pass, what it hides is read nowhere else and is no output, and what
// it gives is not read before its last node.
bool replaceable(const Pattern& pattern, const Graph& graph, const std::vector<std::vector<int>>& consumers,
                 const Match& match) {
  const int root = match.nodes.back();
  for (int n : match.nodes)
    if (graph.node(n).backward != graph.node(root).backward || graph.node(n).unit != graph.node(root).unit)
      return false;
  for (int n : match.nodes)
    for (int v : graph.node(n).out) {
      const bool given = std::any_of(pattern.out.begin(), pattern.out.end(),
                                     [&](const Value& o) { return match.value.at(o.id) == v; });
      const auto is_value = [&](const auto& output) { return output.second == v; };
      if (!given && std::any_of(graph.outputs().begin(), graph.outputs().end(), is_value)) return false;
      for (int reader : consumers[v]) {
        const bool inside = std::find(match.nodes.begin(), match.nodes.end(), reader) != match.nodes.end();
        if (!inside && (!given || reader < root)) return false;
      }
    }
  return true;
}

std::optional<Match> find(const Pattern& pattern, const Graph& graph, const std::vector<std::vector<int>>& consumers,
                          int root) {
  Match match;
  if (!bind(pattern, graph, pattern.graph.node_count() - 1, root, match)) return std::nullopt;
  if (!replaceable(pattern, graph, consumers, match)) return std::nullopt;
  return match;
}

void emit(const Pattern& pattern, const Graph& graph, const Match& match, Rebuild& rebuild) {
  Node node = graph.node(match.nodes.front());
  node.card = pattern.card;
  node.in.clear();
  for (const Value& v : pattern.in) node.in.push_back(rebuild.mapped(match.value.at(v.id)).id);
  std::vector<ValueInfo> infos;
  for (const Value& v : pattern.out) infos.push_back(graph.info(match.value.at(v.id)));
  node.recompute_of = -1;
  const std::vector<Value> made = rebuild.graph().append(std::move(node), infos);
  for (size_t i = 0; i < made.size(); ++i) rebuild.replace(match.value.at(pattern.out[i].id), made[i]);
}

Graph fuse_one(const Graph& graph, const Pattern& pattern) {
  const auto consumers = graph.consumers();
  std::map<int, Match> by_root;
  std::vector<bool> taken(graph.node_count(), false);
  for (int n = 0; n < graph.node_count(); ++n) {
    const std::optional<Match> match = find(pattern, graph, consumers, n);
    if (!match || std::any_of(match->nodes.begin(), match->nodes.end(), [&](int m) { return taken[m]; })) continue;
    for (int m : match->nodes) taken[m] = true;
    by_root.emplace(n, *match);
  }
  Rebuild rebuild(graph);
  for (int n = 0; n < graph.node_count(); ++n) {
    if (!taken[n])
      rebuild.copy(n);
    else if (by_root.contains(n))
      emit(pattern, graph, by_root.at(n), rebuild);
  }
  return rebuild.finish();
}

}  // namespace

Graph fuse(const Graph& graph) {
  Graph result = graph;
  for (const OpCard* card : all_cards())
    if (card->expand) result = fuse_one(result, Pattern(card));
  return result;
}

}  // namespace shardit

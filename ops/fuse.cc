#include "ops/fuse.h"

#include <algorithm>
#include <map>
#include <memory>
#include <optional>

#include "core/rebuild.h"
#include "ops/ops.h"

namespace shardit {
namespace {

// A fused card's expansion: the pattern to look for.
struct Pattern {
  const OpCard* card;
  Graph graph;
  std::vector<Value> in, out;

  Pattern(const OpCard* fused, const std::vector<Type>& types, const Attrs* attrs) : card(fused) {
    for (size_t k = 0; k < types.size(); ++k)
      in.push_back(input(graph, "in" + std::to_string(k), types[k], BufferClass::kActivations));
    out = fused->expand(in, attrs);
  }
  Pattern(const Pattern&) = delete;

  bool is_leaf(int node) const { return graph.node(node).card == &input_card; }
};

// The attributes that the card's first sample has.
std::shared_ptr<const Attrs> sample_attrs(const OpCard* card) {
  const Sample sample = card->samples()[0];
  Graph graph;
  std::vector<Value> in;
  for (size_t k = 0; k < sample.in.size(); ++k)
    in.push_back(input(graph, "in" + std::to_string(k), sample.in[k], BufferClass::kActivations));
  return graph.producer(sample.build(in)[0].id).attrs;
}

struct Match {
  std::map<int, int> value;  // pattern value -> graph value
  std::map<int, int> node;   // pattern node -> graph node

  bool has(int graph_node) const {
    return std::any_of(node.begin(), node.end(), [&](const auto& n) { return n.second == graph_node; });
  }
  int root() const {  // where the fused node will stand: the last one
    return std::max_element(node.begin(), node.end(), [](auto& a, auto& b) { return a.second < b.second; })->second;
  }
};

// Binds pattern node `p` to graph node `n`, and their inputs in turn.
bool bind(const Pattern& pattern, const Graph& graph, int p, int n, Match& match) {
  const Node &want = pattern.graph.node(p), &have = graph.node(n);
  if (want.card != have.card || want.in.size() != have.in.size()) return false;
  for (size_t i = 0; i < want.in.size(); ++i) {
    const int producer = pattern.graph.info(want.in[i]).node;
    if (!pattern.is_leaf(producer) && !match.value.contains(want.in[i]) &&
        !bind(pattern, graph, producer, graph.info(have.in[i]).node, match))
      return false;
    const auto [it, fresh] = match.value.try_emplace(want.in[i], have.in[i]);
    if (!fresh && it->second != have.in[i]) return false;
  }
  for (size_t i = 0; i < want.out.size(); ++i) match.value[want.out[i]] = have.out[i];
  match.node[p] = n;
  return true;
}

// Binds pattern node `p`, which no bound node reads, to the last node before `end` that reads what `p` reads.
bool bind_reader(const Pattern& pattern, const Graph& graph, const std::vector<std::vector<int>>& consumers, int p,
                 int end, Match& match) {
  for (int v : pattern.graph.node(p).in) {
    if (!match.value.contains(v)) continue;
    const std::vector<int>& readers = consumers[match.value.at(v)];
    for (auto n = readers.rbegin(); n != readers.rend(); ++n) {
      Match longer = match;
      if (*n >= end || match.has(*n) || !bind(pattern, graph, p, *n, longer)) continue;
      match = longer;
      return true;
    }
  }
  return false;
}

// The attributes of the fused node: those of the first node of the expansion that has any.
std::shared_ptr<const Attrs> attrs_of(const Graph& graph, const Match& match) {
  for (const auto& [p, n] : match.node)
    if (graph.node(n).attrs) return graph.node(n).attrs;
  return nullptr;
}

// Whether the card with these attributes, expanded on what the match reads, is what stands there.
bool expands_to(const Pattern& pattern, const Graph& graph, const Match& match) {
  std::vector<Type> types;
  for (const Value& v : pattern.in) types.push_back(graph.info(match.value.at(v.id)).type);
  const Pattern exact(pattern.card, types, attrs_of(graph, match).get());
  if (exact.graph.node_count() != pattern.graph.node_count()) return false;
  const auto text = [](const Node& node) { return node.attrs ? node.attrs->text() : ""; };
  return std::all_of(match.node.begin(), match.node.end(), [&](const auto& bound) {
    return text(exact.graph.node(bound.first)) == text(graph.node(bound.second));
  });
}

// A match may be replaced if its nodes run in one pass, what it hides is read nowhere else and is no output, and what
// it gives is not read before its last node.
bool replaceable(const Pattern& pattern, const Graph& graph, const std::vector<std::vector<int>>& consumers,
                 const Match& match) {
  const int root = match.root();
  for (const auto& [p, n] : match.node) {
    if (graph.node(n).backward != graph.node(root).backward) return false;
    for (int v : graph.node(n).out) {
      const bool given = std::any_of(pattern.out.begin(), pattern.out.end(),
                                     [&](const Value& o) { return match.value.at(o.id) == v; });
      const auto is_value = [&](const auto& output) { return output.second == v; };
      if (!given && std::any_of(graph.outputs().begin(), graph.outputs().end(), is_value)) return false;
      for (int reader : consumers[v])
        if (!match.has(reader) && (!given || reader < root)) return false;
    }
  }
  return true;
}

// The match whose node of the pattern's last is `n`.
std::optional<Match> find(const Pattern& pattern, const Graph& graph, const std::vector<std::vector<int>>& consumers,
                          int n) {
  Match match;
  const int last = pattern.graph.node_count() - 1;
  if (!bind(pattern, graph, last, n, match)) return std::nullopt;
  for (int p = last - 1; p >= 0; --p)
    if (!pattern.is_leaf(p) && !match.node.contains(p) && !bind_reader(pattern, graph, consumers, p, n, match))
      return std::nullopt;
  if (!replaceable(pattern, graph, consumers, match) || !expands_to(pattern, graph, match)) return std::nullopt;
  return match;
}

void emit(const Pattern& pattern, const Graph& graph, const Match& match, Rebuild& rebuild) {
  Node node = graph.node(match.node.begin()->second);
  node.card = pattern.card;
  node.attrs = attrs_of(graph, match);
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
    if (!match) continue;
    const auto& nodes = match->node;
    if (std::any_of(nodes.begin(), nodes.end(), [&](const auto& m) { return taken[m.second]; })) continue;
    for (const auto& [p, m] : nodes) taken[m] = true;
    by_root.emplace(match->root(), *match);
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
    if (card->expand) result = fuse_one(result, Pattern(card, card->samples()[0].in, sample_attrs(card).get()));
  return result;
}

}  // namespace shardit

// Gradients leave for their owners as soon as their unit's backward ends, and are folded there on the wire stream while
// the next unit computes.
#include <algorithm>
#include <deque>
#include <map>

#include <glog/logging.h>
#include "core/error.h"
#include "core/rebuild.h"
#include "dist/collective_ops.h"
#include "dist/sharding.h"
#include "ops/ops.h"

namespace shardit {
namespace {

class Reducer {
 public:
  Reducer(const Graph& graph, const Layout& layout, const Sharding& sharding, const Reduction& reduction)
      : graph_(graph),
        mesh_(sharding.mesh),
        prefetch_bytes_(sharding.prefetch_bytes),
        reduction_(reduction),
        rebuild_(graph) {
    for (const Unit& unit : layout.units) find_gradient(unit);
    if (!alone()) loss_ = graph.info(graph.outputs().at("step.loss")).node;
  }

  Graph run() {
    for (int n = 0; n < graph_.node_count(); ++n) {
      rebuild_.copy(n);
      if (const auto begun = first_writers_.find(n); begun != first_writers_.end()) make_room(n, begun->second);
      if (const auto made = units_.find(n); made != units_.end()) reduce(*made->second);
      if (n == loss_) share_loss();
    }
    return rebuild_.finish();
  }

 private:
  bool alone() const { return mesh_.ranks() == 1; }
  bool rounds_terms() const { return reduction_.reduce != DType::kF32; }

  void find_gradient(const Unit& unit) {
    const auto output = graph_.outputs().find("grad." + unit.name);
    CHECK(output != graph_.outputs().end()) << "the micro-step has no gradient of " << unit.name;
    rebuild_.drop_output(output->first);
    const int made = graph_.info(output->second).node;
    CHECK(units_.emplace(made, &unit).second) << "two units have one gradient";
    first_writers_[writes_first(made)] += graph_.info(output->second).type.bytes();
  }

  // The first node that writes into the unit's gradient: tensors of it are made in their place.
  int writes_first(int node) const {
    int first = node;
    if (!graph_.node(node).card->alias) return first;
    for (const Alias& a : graph_.node(node).card->alias(types_of(graph_, graph_.node(node))))
      if (a.kind == Alias::kPlace) first = std::min(first, graph_.info(graph_.node(node).in[a.in]).node);
    return first;
  }

  // A gradient of that many bytes is begun by node `n`: when enough of those before it have left.
  void make_room(int n, int64_t bytes) {
    if (alone()) return;
    int left = -1;
    for (; !in_flight_.empty() && in_flight_bytes_ + bytes > prefetch_bytes_; in_flight_.pop_front()) {
      left = in_flight_.front().sent;
      in_flight_bytes_ -= in_flight_.front().bytes;
    }
    if (left >= 0) rebuild_.graph().node(rebuild_.node_of(n)).after.push_back(left);
    in_flight_bytes_ += bytes;
  }

  void reduce(const Unit& unit) {
    Graph& to = rebuild_.graph();
    Value gradient = rebuild_.mapped(graph_.outputs().at("grad." + unit.name));
    Node where = to.producer(gradient.id);
    where.label = where.unit = unit.name;
    const Graph::Scope scope = to.scope_of(where, "reduce ");
    to.set_backward(true);
    if (rounds_terms()) gradient = cast(gradient, reduction_.reduce);
    if (alone() && reduction_.micro_batches == 1) {
      to.keep(rounds_terms() ? cast(gradient, DType::kF32) : gradient, "grad." + unit.name, BufferClass::kGradients);
      return;
    }
    const int begin = to.node_count();
    FoldOrder order = {.terms = reduction_.micro_batches,
                       .group = reduction_.fold_group > 1 ? reduction_.fold_group : reduction_.micro_batches,
                       .per_round = mesh_.ranks(),
                       .micro_batches = mesh_.ranks()};
    const Value terms = bring_together(gradient, unit, order);
    fold_in(terms, unit, order);
    if (alone()) return;
    in_flight_.push_back({begin, graph_.info(graph_.outputs().at("grad." + unit.name)).type.bytes()});
    for (int n = begin; n < to.node_count(); ++n)
      if (to.node(n).card != &input_card) to.node(n).stream = Stream::kWire;
  }

  // The terms of the round for this rank's shard, in order of micro-batches. Inside a node first; across nodes travel
  // sums of whole groups where a node has whole groups, else the terms themselves.
  Value bring_together(Value gradient, const Unit& unit, FoldOrder& order) {
    Value terms = all_to_all(gradient, mesh_.shard, unit.name);
    const int64_t inside = mesh_.shard.size;
    if (mesh_.replicate.size == 1) return terms;
    if (order.group > 1 && inside % order.group == 0 && order.terms % order.group == 0) {
      const int64_t groups = inside / order.group;
      terms = sum_groups(terms, groups, order.group);
      order.terms /= order.group;
      order.per_round /= order.group;
      order.group = order.terms;
    }
    return all_gather(terms, mesh_.replicate, unit.name);
  }

  void fold_in(Value terms, const Unit& unit, const FoldOrder& order) {
    Graph& to = *terms.graph;
    const auto sum = [&](const std::string& name) {
      return input(to, name + unit.name, {DType::kF32, {unit.shard_elements(mesh_.shard.size)}},
                   BufferClass::kGradients);
    };
    if (!counters_) counters_ = input(to, "step.counters", {DType::kI64, {2}}, BufferClass::kStaging, Role::kFixed, 2);
    const Value total = sum("grad.");
    if (order.one_group())
      fold(total, {}, terms, counters_, order);
    else
      fold(sum("fold."), total, terms, counters_, order);
  }

  void share_loss() {
    Graph& to = rebuild_.graph();
    const Value own = rebuild_.mapped(graph_.outputs().at("step.loss"));
    rebuild_.drop_output("step.loss");
    to.info(own.id).buffer.clear();
    const Graph::Scope scope = to.scope("loss");
    to.keep(all_gather(reshape(own, {1}), mesh_.world, "loss"), "step.loss");
  }

  const Graph& graph_;
  const Mesh& mesh_;
  const int64_t prefetch_bytes_;
  const Reduction& reduction_;
  Rebuild rebuild_;
  std::map<int, const Unit*> units_;      // by the node that makes the unit's gradient
  std::map<int, int64_t> first_writers_;  // nodes that begin a gradient: its bytes
  int loss_ = -1;                         // the node whose result the ranks share
  Value counters_;
  struct InFlight {
    int sent;  // the node that reads the gradient last, in the new graph
    int64_t bytes;
  };
  std::deque<InFlight> in_flight_;
  int64_t in_flight_bytes_ = 0;  // with the one that is being made
};

}  // namespace

Graph reduce_gradients(const Graph& graph, const Layout& layout, const Sharding& sharding, const Reduction& reduction) {
  return Reducer(graph, layout, sharding, reduction).run();
}

}  // namespace shardit

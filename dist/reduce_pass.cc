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
        sharding_(sharding),
        mesh_(sharding.mesh),
        reduction_(reduction),
        at_home_(reduction.sums_at_home(sharding)),
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
  int64_t rounds() const { return reduction_.micro_batches / mesh_.ranks(); }
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
    if (alone() || at_home_) return;
    int left = -1;
    for (; !in_flight_.empty() && in_flight_bytes_ + bytes > sharding_.prefetch_bytes; in_flight_.pop_front()) {
      left = in_flight_.front().sent;
      in_flight_bytes_ -= in_flight_.front().bytes;
    }
    if (left >= 0) rebuild_.graph().node(rebuild_.node_of(n)).after.push_back(left);
    in_flight_bytes_ += bytes;
  }

  void reduce(const Unit& unit) {
    Graph& to = rebuild_.graph();
    Value gradient = rebuild_.mapped(graph_.outputs().at("grad." + unit.name));
    const int64_t made_bytes = gradient.type().bytes();
    Node where = to.producer(gradient.id);
    where.label = where.unit = unit.name;
    const Graph::Scope scope = to.scope_of(where, "reduce ");
    to.set_backward(true);
    if (at_home_) {
      gradient = fold_rounds(unit, "home_grad.", gradient);
      if (!reduction_.last) return;
    }
    if (rounds_terms()) gradient = cast(gradient, reduction_.reduce);
    if (alone() && reduction_.micro_batches == 1) {
      to.keep(rounds_terms() ? cast(gradient, DType::kF32) : gradient, "grad." + unit.name, BufferClass::kGradients);
      return;
    }
    const int begin = to.node_count();
    const Value sum = reduction_.fastest && !alone() ? sum_anyhow(gradient, unit) : sum_in_order(gradient, unit);
    if (reduction_.last && sharding_.gathers_gradients())
      to.keep(all_gather(sum, mesh_.shard, unit.name), "whole_grad." + unit.name, BufferClass::kGradients);
    if (alone()) return;
    leave(begin, made_bytes, gradient.type().bytes());
    for (int n = begin; n < to.node_count(); ++n)
      if (to.node(n).card != &input_card) to.node(n).stream = Stream::kWire;
  }

  // A gradient that was made is on its way, in bytes of the type that it travels in.
  void leave(int node, int64_t made_bytes, int64_t bytes) {
    if (at_home_) return;
    in_flight_.push_back({node, bytes});
    in_flight_bytes_ += bytes - made_bytes;
  }

  Value sum_in_order(Value gradient, const Unit& unit) {
    FoldOrder order = {.terms = reduction_.micro_batches,
                       .group = reduction_.fold_group > 1 ? reduction_.fold_group : reduction_.micro_batches,
                       .per_round = mesh_.ranks(),
                       .micro_batches = mesh_.ranks()};
    const Value terms = bring_together(gradient, unit, order);
    return fold_in(terms, unit, order);
  }

  Value sum_anyhow(Value gradient, const Unit& unit) {
    Value sum = rounds_terms() ? sum_groups(all_to_all(gradient, mesh_.shard, unit.name), 1, mesh_.shard.size)
                               : reduce_scatter(gradient, mesh_.shard, unit.name);
    if (mesh_.replicate.size > 1)
      sum = sum_groups(all_gather(sum, mesh_.replicate, unit.name), 1, mesh_.replicate.size);
    if (!at_home_ && rounds() > 1) return fold_rounds(unit, "grad.", sum);
    rebuild_.graph().keep(sum, "grad." + unit.name, BufferClass::kGradients);
    return sum;
  }

  // Adds what this round brings to the sum of the rounds before.
  Value fold_rounds(const Unit& unit, const std::string& buffer, Value term) {
    const FoldOrder order = {.terms = rounds(), .group = rounds(), .micro_batches = mesh_.ranks()};
    const Value sum = input(rebuild_.graph(), buffer + unit.name, {DType::kF32, term.shape()}, BufferClass::kGradients);
    return fold(sum, {}, term, counters(), order).back();
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

  Value fold_in(Value terms, const Unit& unit, const FoldOrder& order) {
    const auto sum = [&](const std::string& name) {
      return input(*terms.graph, name + unit.name, {DType::kF32, {unit.shard_elements(mesh_.shard.size)}},
                   BufferClass::kGradients);
    };
    const Value total = sum("grad.");
    return order.one_group() ? fold(total, {}, terms, counters(), order).back()
                             : fold(sum("fold."), total, terms, counters(), order).back();
  }

  Value counters() {
    if (!counters_)
      counters_ = input(rebuild_.graph(), "step.counters", {DType::kI64, {2}}, BufferClass::kStaging, Role::kFixed, 2);
    return counters_;
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
  const Sharding& sharding_;
  const Mesh& mesh_;
  const Reduction& reduction_;
  const bool at_home_;
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

bool Reduction::sums_at_home(const Sharding& sharding) const {
  const int ranks = sharding.mesh.ranks();
  return fastest && sharding.stage <= 1 && ranks > 1 && micro_batches > ranks;
}

bool last_round_differs(const Sharding& sharding, const Reduction& reduction) {
  return sharding.gathers_gradients() || reduction.sums_at_home(sharding);
}

Graph reduce_gradients(const Graph& graph, const Layout& layout, const Sharding& sharding, const Reduction& reduction) {
  return Reducer(graph, layout, sharding, reduction).run();
}

}  // namespace shardit

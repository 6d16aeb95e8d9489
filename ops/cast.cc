#include "ops/cast.h"

#include <map>

#include "ops/kernel.h"
#include "ops/ops.h"

namespace shardit {

DEVICE_KERNEL(cast_cuda);

DType Precision::of(Role role, DType as_built) const {
  if (!is_floating(as_built)) return as_built;
  switch (role) {
    case Role::kCompute:
      return compute;
    case Role::kStream:
      return residual;
    case Role::kExact:
    case Role::kWeightGradient:
      return DType::kF32;
    case Role::kAny:
    case Role::kFixed:
      return as_built;
  }
  return as_built;
}

namespace {

class Caster {
 public:
  Caster(const Graph& from, const Precision& precision) : from_(from), precision_(precision), to_(from.real()) {}

  Graph run() {
    for (int n = 0; n < from_.node_count(); ++n) add(from_.node(n));
    for (const auto& [name, v] : from_.outputs()) to_.name_output(to_.value(map_.at(v)), name);
    return std::move(to_);
  }

 private:
  void add(Node node) {
    const std::vector<int> old_out = node.out;
    for (size_t i = 0; i < node.in.size(); ++i) node.in[i] = operand(node, i);
    std::vector<ValueInfo> outputs;
    for (size_t i = 0; i < old_out.size(); ++i) {
      ValueInfo info = from_.info(old_out[i]);
      info.type.dtype = out_type(node, i, info.type.dtype);
      outputs.push_back(info);
    }
    if (node.recompute_of >= 0) node.recompute_of = node_map_.at(node.recompute_of);
    const std::vector<Value> made = to_.append(node, outputs);
    for (size_t i = 0; i < old_out.size(); ++i) map_[old_out[i]] = made[i].id;
    node_map_[from_.info(old_out[0]).node] = to_.node_count() - 1;
  }

  // Input i of the node in the type its role asks for.
  int operand(const Node& node, size_t i) {
    const int v = map_.at(node.in[i]);
    const DType have = to_.info(v).type.dtype, want = precision_.of(node.card->in_role(i), have);
    if (have == want) return v;
    const auto [it, fresh] = casts_.try_emplace({v, want}, -1);
    if (fresh) {
      const Graph::Scope scope = to_.scope_of(node, "");
      to_.set_backward(node.backward);
      it->second = cast(to_.value(v), want).id;
    }
    return it->second;
  }

  DType out_type(const Node& node, size_t i, DType as_built) const {
    if (node.card == &input_card) return precision_.of(node.attr<InputAttrs>().role, as_built);
    const Role role = node.card->out_role(i);
    if (role == Role::kAny && is_floating(as_built) && !node.in.empty()) return to_.info(node.in[0]).type.dtype;
    return precision_.of(role, as_built);
  }

  const Graph& from_;
  const Precision& precision_;
  Graph to_;
  std::map<int, int> map_, node_map_;
  std::map<std::pair<int, DType>, int> casts_;
};

// The one kernel that mixes fp64 with the others: sampler states are fp64, networks are not.
void cast_cpu(const KernelArgs& k) {
  visit_real(k.in[0].dtype(), [&]<typename X>(X) {
    visit_real(k.out[0].dtype(), [&]<typename Y>(Y) {
      const X* x = k.in[0].as<X>();
      Y* y = k.out[0].as<Y>();
      const int64_t n = k.out[0].numel();
      k.pool->run(tile_count(n, kPointwiseTile), [&](int64_t t, int) {
        const Tile tile = tile_at(n, kPointwiseTile, t);
        for (int64_t i = tile.begin; i < tile.end; ++i) y[i] = Y(static_cast<Accum<Y>>(static_cast<Accum<X>>(x[i])));
      });
    });
  });
}

}  // namespace

const OpCard cast_card = {
    .name = "cast",
    .shape =
        [](const NodeTypes& n) {
          return std::vector{Type{n.attr<CastAttrs>().dtype, n.in[0].shape}};
        },
    .grad = [](const GradArgs& g) { return std::vector{cast(g.dout[0], g.in[0].dtype())}; },
    .cost = pointwise_cost<0>,
    .in_roles = {Role::kAny},
    .out_roles = {Role::kFixed},
    .cpu = cast_cpu,
    .cuda = cast_cuda,
    .samples =
        [] {
          return Samples{
              {.in = {{DType::kF32, {5, 7}}}, .build = [](auto& v) { return std::vector{cast(v[0], v[0].dtype())}; }},
              {.in = {{DType::kF32, {5, 7}}}, .build = [](auto& v) { return std::vector{cast(v[0], DType::kF64)}; }}};
        },
};

Value cast(Value x, DType dtype) {
  auto attrs = std::make_shared<CastAttrs>();
  attrs->dtype = dtype;
  return x.graph->add1(cast_card, {x}, attrs);
}

Graph apply_precision(const Graph& graph, const Precision& precision) { return Caster(graph, precision).run(); }

}  // namespace shardit

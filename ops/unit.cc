// A unit's flat buffer seen as its tensors, and tensors written straight into a flat buffer. Both are windows that the
// planner lays out: unpack moves no byte, and pack only writes zeros where no tensor lies.
#include "ops/unit.h"

#include <algorithm>
#include <cstring>

#include "core/error.h"
#include "ops/kernel.h"
#include "ops/ops.h"

namespace shardit {

DEVICE_KERNEL(pack_cuda);

namespace {

std::shared_ptr<UnitAttrs> attrs_of(const Unit& unit) {
  auto attrs = std::make_shared<UnitAttrs>();
  attrs->unit = unit;
  return attrs;
}

std::vector<Type> unpack_shape(const NodeTypes& n) {
  const Unit& unit = n.attr<UnitAttrs>().unit;
  REQUIRE(n.in[0].shape == Shape{unit.elements()}, "unit " + unit.name + " is given as " + n.in[0].shape.str() +
                                                       ", its layout has " + std::to_string(unit.elements()) +
                                                       " elements");
  std::vector<Type> types;
  for (const Param& p : unit.params) types.push_back({n.in[0].dtype, p.shape});
  return types;
}

std::vector<Type> pack_shape(const NodeTypes& n) {
  const UnitAttrs& a = n.attr<UnitAttrs>();
  for (size_t i = 0; i < a.input.size(); ++i) {
    if (a.input[i] < 0) continue;
    const Shape& shape = n.in_shape(a.input[i]);
    const Param& p = a.unit.params[i];
    REQUIRE(shape == p.shape, p.name + " has the shape " + p.shape.str() + ", " + shape.str() + " is given for it");
  }
  return {n.real_of({a.unit.elements()})};
}

std::vector<Alias> unpack_windows(const NodeTypes& n) {
  std::vector<Alias> windows;
  for (const Param& p : n.attr<UnitAttrs>().unit.params)
    windows.push_back({Alias::kView, 0, static_cast<int>(windows.size()), p.offset()});
  return windows;
}

std::vector<Alias> pack_windows(const NodeTypes& n) {
  const UnitAttrs& a = n.attr<UnitAttrs>();
  std::vector<Alias> windows;
  for (size_t i = 0; i < a.input.size(); ++i)
    if (a.input[i] >= 0) windows.push_back({Alias::kPlace, a.input[i], 0, a.unit.params[i].offset()});
  return windows;
}

void pack_cpu(const KernelArgs& k) {
  const auto bytes = static_cast<int64_t>(size_of(k.out[0].dtype()));
  for_gaps(k.attr<UnitAttrs>(), [&](int64_t begin, int64_t end) {  // zero has all bits zero in every type
    std::memset(k.out[0].as<std::byte>() + begin * bytes, 0, static_cast<size_t>((end - begin) * bytes));
  });
}

Cost pack_cost(const NodeTypes& n) {
  double elements = 0;
  for_gaps(n.attr<UnitAttrs>(), [&](int64_t begin, int64_t end) { elements += static_cast<double>(end - begin); });
  return {.bytes = elements * static_cast<double>(size_of(n.out[0].dtype))};
}

// Whether the producer of `v` can be made to write into a larger buffer: no name, no other buffer and no other place
// claims its bytes.
bool placeable(Value v, const std::vector<int>& consumers) {
  const Graph& graph = *v.graph;
  const ValueInfo& info = graph.info(v.id);
  const Node& producer = graph.node(info.node);
  if (!info.buffer.empty() || producer.card->constant) return false;
  const auto aliases = [&](const Node& node) {
    return node.card->alias ? node.card->alias(types_of(graph, node)) : std::vector<Alias>{};
  };
  for (const Alias& a : aliases(producer))
    if (a.out == info.output && (a.kind == Alias::kView || a.kind == Alias::kUpdate)) return false;
  for (int n : consumers)
    for (const Alias& a : aliases(graph.node(n)))
      if (a.kind == Alias::kPlace && graph.node(n).in[a.in] == v.id) return false;
  return true;
}

Unit sample_unit() {
  Unit unit{.name = "sample"};
  unit.add("a", {5, 7}, {});
  unit.add("b", {1030}, {});
  unit.add("c", {2, 3}, {});
  return unit;
}

}  // namespace

const OpCard unpack_card = {
    .name = "unpack",
    .shape = unpack_shape,
    .grad = [](const GradArgs& g) { return std::vector{pack(g.graph, g.dout, g.attr<UnitAttrs>().unit)}; },
    .cost = [](const NodeTypes&) { return Cost{}; },
    .in_roles = {Role::kCompute},
    .out_roles = {Role::kCompute},
    .cpu = [](const KernelArgs&) {},
    .alias = unpack_windows,
    .samples =
        [] {
          const auto build = [](const std::vector<Value>& v) { return unpack(v[0], sample_unit()); };
          const Type flat = {DType::kF32, {sample_unit().elements()}};
          return Samples{{.in = {flat}, .build = build}, {.in = {flat}, .build = build, .no_output_gradient = {1}}};
        },
};

const OpCard pack_card = {
    .name = "pack",
    .shape = pack_shape,
    .cost = pack_cost,
    .in_roles = {Role::kWeightGradient},
    .out_roles = {Role::kWeightGradient},
    .cpu = pack_cpu,
    .cuda = pack_cuda,
    .alias = pack_windows,
    .samples =
        [] {
          const std::vector<Type> in = {{DType::kF32, {5, 7}}, {DType::kF32, {1030}}, {DType::kF32, {2, 3}}};
          const auto whole = [](const std::vector<Value>& v) {
            return std::vector{pack(*v[0].graph, v, sample_unit())};
          };
          const auto part = [](const std::vector<Value>& v) {
            return std::vector{pack(*v[0].graph, {v[0], {}, v[2]}, sample_unit())};
          };
          return Samples{{.in = in, .build = whole}, {.in = in, .build = part}};
        },
};

std::vector<Value> unpack(Value unit, const Unit& layout) {
  return unit.graph->add(unpack_card, {unit}, attrs_of(layout));
}

Value pack(Graph& graph, const std::vector<Value>& tensors, const Unit& layout) {
  REQUIRE(tensors.size() == layout.params.size(), "pack: unit " + layout.name + " has " +
                                                      std::to_string(layout.params.size()) + " tensors, " +
                                                      std::to_string(tensors.size()) + " are given");
  const auto consumers = graph.consumers();
  auto attrs = attrs_of(layout);
  std::vector<Value> in;
  for (const Value& v : tensors) {
    attrs->input.push_back(v ? static_cast<int>(in.size()) : -1);
    if (!v) continue;
    const bool twice = std::any_of(in.begin(), in.end(), [&](const Value& other) { return other.id == v.id; });
    in.push_back(twice || !placeable(v, consumers[v.id]) ? copy(v) : v);
  }
  return graph.add1(pack_card, in, attrs);
}

}  // namespace shardit

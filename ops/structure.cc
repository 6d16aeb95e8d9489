// Ops that move or name bytes and compute nothing.
#include <cstring>
#include <tuple>

#include "core/error.h"
#include "ops/kernel.h"
#include "ops/ops.h"

namespace shardit {

DEVICE_KERNEL(copy_cuda);
DEVICE_KERNEL(table_cuda);

namespace {

void copy_bytes(const KernelArgs& k) {
  const auto* from = static_cast<const std::byte*>(k.in[0].data);
  auto* to = static_cast<std::byte*>(k.out[0].data);
  const int64_t bytes = k.out[0].type.bytes();
  constexpr int64_t kTile = 1 << 18;
  k.pool->run(tile_count(bytes, kTile), [&](int64_t t, int) {
    const Tile tile = tile_at(bytes, kTile, t);
    std::memcpy(to + tile.begin, from + tile.begin, static_cast<size_t>(tile.end - tile.begin));
  });
}

Cost moved(const NodeTypes& n) { return {.bytes = streamed(n)}; }
Cost nothing(const NodeTypes&) { return {}; }

struct ReshapeAttrs : Attrs {
  Shape shape;
  std::string text() const override { return shape.str(); }
};

struct SliceAttrs : Attrs {
  int64_t first = 0, count = 0;
  std::string text() const override { return std::to_string(first) + "+" + std::to_string(count); }
};

struct TableAttrs : Attrs {
  std::string name;
  std::vector<double> values;
  std::string text() const override { return name; }
};

void table_cpu(const KernelArgs& k) {
  const auto& values = k.attr<TableAttrs>().values;
  visit_real(k.out[0].dtype(), [&](auto t) {
    using T = decltype(t);
    for (size_t i = 0; i < values.size(); ++i) k.out[0].as<T>()[i] = T(static_cast<Accum<T>>(values[i]));
  });
}

}  // namespace

const OpCard copy_card = {
    .name = "copy",
    .shape = same_as_first,
    .grad = [](const GradArgs& g) { return std::vector{g.dout[0]}; },
    .cost = moved,
    .in_roles = {Role::kAny},
    .out_roles = {Role::kAny},
    .cpu = copy_bytes,
    .cuda = copy_cuda,
    .samples =
        [] {
          return Samples{{.in = {{DType::kF32, {5, 7}}}, .build = [](auto& v) { return std::vector{copy(v[0])}; }}};
        },
};

const OpCard reshape_card = {
    .name = "reshape",
    .shape =
        [](const NodeTypes& n) {
          const Shape& shape = n.attr<ReshapeAttrs>().shape;
          REQUIRE(shape.numel() == n.in[0].shape.numel(),
                  "reshape: " + n.in[0].shape.str() + " has another number of elements than " + shape.str());
          return std::vector{Type{n.in[0].dtype, shape}};
        },
    .grad = [](const GradArgs& g) { return std::vector{reshape(g.dout[0], g.in[0].shape())}; },
    .cost = nothing,
    .in_roles = {Role::kAny},
    .out_roles = {Role::kAny},
    .cpu = [](const KernelArgs&) {},
    .alias =
        [](const NodeTypes&) {
          return std::vector{Alias{Alias::kView, 0, 0}};
        },
    .samples =
        [] {
          return Samples{{.in = {{DType::kF32, {4, 6}}}, .build = [](auto& v) {
                            return std::vector{reshape(v[0], {3, 8})};
                          }}};
        },
};

const OpCard stop_gradient_card = {
    .name = "stop_gradient",
    .shape = same_as_first,
    .cost = nothing,
    .in_roles = {Role::kAny},
    .out_roles = {Role::kAny},
    .cpu = [](const KernelArgs&) {},
    .alias =
        [](const NodeTypes&) {
          return std::vector{Alias{Alias::kView, 0, 0}};
        },
    .samples =
        [] {
          return Samples{
              {.in = {{DType::kF32, {5, 7}}}, .build = [](auto& v) { return std::vector{stop_gradient(v[0])}; }}};
        },
};

const OpCard slice_first_card = {
    .name = "slice_first",
    .shape =
        [](const NodeTypes& n) {
          const auto& [first, count] = std::tie(n.attr<SliceAttrs>().first, n.attr<SliceAttrs>().count);
          const Shape& shape = n.in[0].shape;
          REQUIRE(first >= 0 && count > 0 && first + count <= shape[0],
                  "takes rows " + n.attrs->text() + " of " + shape.str() + ": expected rows inside the first axis");
          return std::vector{Type{n.in[0].dtype, shape.with(0, count)}};
        },
    .cost = nothing,
    .in_roles = {Role::kAny},
    .out_roles = {Role::kAny},
    .cpu = [](const KernelArgs&) {},
    .alias =
        [](const NodeTypes& n) {
          return std::vector{Alias{Alias::kView, 0, 0, n.attr<SliceAttrs>().first * n.in[0].shape.without(0).numel()}};
        },
    .samples =
        [] {
          return Samples{
              {.in = {{DType::kF32, {5, 7}}}, .build = [](auto& v) { return std::vector{slice_first(v[0], 1, 3)}; }}};
        },
};

const OpCard table_card = {
    .name = "table",
    .shape =
        [](const NodeTypes& n) {
          return std::vector{n.real_of({static_cast<int64_t>(n.attr<TableAttrs>().values.size())})};
        },
    .cost = nothing,
    .in_roles = {Role::kFixed},
    .out_roles = {Role::kFixed},
    .cpu = table_cpu,
    .cuda = table_cuda,
    .constant = true,
    .samples =
        [] {
          return Samples{{.in = {{DType::kF32, {3}}}, .build = [](auto& v) {
                            return std::vector{add(v[0], table(*v[0].graph, "thirds", {1, 2, 0.25}))};
                          }}};
        },
};

Value copy(Value x) { return x.graph->add1(copy_card, {x}); }
Value stop_gradient(Value x) { return x.graph->add1(stop_gradient_card, {x}); }

Value reshape(Value x, Shape shape) {
  if (x.shape() == shape) return x;
  auto attrs = std::make_shared<ReshapeAttrs>();
  attrs->shape = shape;
  return x.graph->add1(reshape_card, {x}, attrs);
}

Value slice_first(Value x, int64_t first, int64_t count) {
  auto attrs = std::make_shared<SliceAttrs>();
  attrs->first = first;
  attrs->count = count;
  return x.graph->add1(slice_first_card, {x}, attrs);
}

Value table(Graph& graph, const std::string& name, std::vector<double> values) {
  auto attrs = std::make_shared<TableAttrs>();
  attrs->name = name;
  attrs->values = std::move(values);
  return graph.add1(table_card, {}, attrs);
}

}  // namespace shardit

// Layer norm over the innermost axis, without affine part: y = (x - mean) * rstd, rstd = 1 / sqrt(var + epsilon).
//   dx = rstd * (dy - mean(dy) - y * mean(dy * y))
// The variance is a second pass over the row, which is in the first-level cache by then. Bound by bytes.
#include "ops/layer_norm.h"

#include "core/error.h"
#include "ops/layer_norm_rows.h"
#include "ops/ops.h"

namespace shardit {

DEVICE_KERNEL(layer_norm_cuda);
DEVICE_KERNEL(layer_norm_grad_cuda);

namespace {

using namespace layer_norm_rows;

void layer_norm_cpu(const KernelArgs& k) {
  visit_real(k.in[0].dtype(), k.out[0].dtype(), [&]<typename X, typename Y>(X, Y) {
    using S = Accum<X>;
    const int64_t columns = k.in[0].shape()[-1], rows = k.in[0].numel() / columns;
    const S epsilon = static_cast<S>(k.attr<NormAttrs>().epsilon);
    for_groups(*k.pool, rows, columns, [&](int64_t first, int64_t count) {
      normalize(count, columns, k.in[0].as<X>() + first * columns, k.out[0].as<Y>() + first * columns,
                k.out[1].as<S>() + first, k.out[2].as<S>() + first, epsilon);
    });
  });
}

void layer_norm_grad_cpu(const KernelArgs& k) {
  visit_real(k.in[0].dtype(), k.in[1].dtype(), k.out[0].dtype(), [&]<typename D, typename X, typename DX>(D, X, DX) {
    using S = Accum<X>;
    const int64_t columns = k.in[1].shape()[-1], rows = k.in[1].numel() / columns;
    for_groups(*k.pool, rows, columns, [&](int64_t first, int64_t count) {
      DX* to = k.out[0].as<DX>() + first * columns;
      differentiate(count, columns, k.in[0].as<D>() + first * columns, k.in[1].as<X>() + first * columns,
                    k.in[2].as<S>() + first, k.in[3].as<S>() + first,
                    [&](int64_t r, auto&& dx) { write_row<S>(to + r * columns, columns, dx); });
    });
  });
}

std::vector<Type> layer_norm_shape(const NodeTypes& n) {
  const Shape& x = n.in_shape(0);
  REQUIRE(x.rank() > 0 && x[-1] > 0, "layer_norm: x is " + x.str() + ": expected at least one axis, with elements");
  Shape rows(x.begin(), x.end() - 1);
  return {n.real_of(x), n.real_of(rows), n.real_of(rows)};
}

std::vector<Type> layer_norm_grad_shape(const NodeTypes& n) {
  REQUIRE(n.in_shape(0) == n.in_shape(1),
          "layer_norm_grad: dy is " + n.in_shape(0).str() + ", x is " + n.in_shape(1).str());
  return {n.real_of(n.in_shape(1))};
}

}  // namespace

const OpCard layer_norm_card = {
    .name = "layer_norm",
    .shape = layer_norm_shape,
    .grad = [](const GradArgs& g) { return std::vector{layer_norm_grad(g.dout[0], g.in[0], g.out[1], g.out[2])}; },
    .cost = pointwise_cost<7>,
    .in_roles = {Role::kStream},
    .out_roles = {Role::kCompute, Role::kExact, Role::kExact},
    .cpu = layer_norm_cpu,
    .cuda = layer_norm_cuda,
    .samples =
        [] {
          const auto build = [](const std::vector<Value>& v) { return layer_norm(v[0], 1e-6); };
          return Samples{
              {.in = {{DType::kF32, {5, 7, 24}}}, .build = build, .no_output_gradient = {1, 2}},
              {.in = {{DType::kF32, {3, 97}}}, .build = build, .no_output_gradient = {1, 2}},
              {.in = {{DType::kF32, {700, 64}}}, .build = build, .no_output_gradient = {1, 2}},  // several tiles
              {.in = {{DType::kF32, {3, 1152}}}, .build = build, .no_output_gradient = {1, 2}},
              {.in = {{DType::kF32, {2, 2600}}}, .build = build, .no_output_gradient = {1, 2}}};  // registers' limit
        },
};

const OpCard layer_norm_grad_card = {
    .name = "layer_norm_grad",
    .shape = layer_norm_grad_shape,
    .cost = pointwise_cost<10>,
    .in_roles = {Role::kCompute, Role::kStream, Role::kExact, Role::kExact},
    .out_roles = {Role::kStream},
    .cpu = layer_norm_grad_cpu,
    .cuda = layer_norm_grad_cuda,
    .alias =
        [](const NodeTypes&) {
          return std::vector{Alias{Alias::kReuse, 0, 0}};
        },
};

std::vector<Value> layer_norm(Value x, double epsilon) {
  auto attrs = std::make_shared<NormAttrs>();
  attrs->epsilon = epsilon;
  return x.graph->add(layer_norm_card, {x}, attrs);
}

Value layer_norm_grad(Value dy, Value x, Value mean, Value rstd) {
  return x.graph->add1(layer_norm_grad_card, {dy, x, mean, rstd});
}

}  // namespace shardit

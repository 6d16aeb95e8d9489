// SiLU: y = x s(x), s the logistic function;  dy/dx = s + x s (1 - s)
#include "ops/kernel.h"
#include "ops/math.h"
#include "ops/ops.h"

namespace shardit {

DEVICE_KERNEL(silu_cuda);
DEVICE_KERNEL(silu_grad_cuda);

namespace {

template <typename T> T silu_slope(T x) {
  const T s = sigmoid_of(x);
  return s + x * s * (T(1) - s);
}

}  // namespace

const OpCard silu_card = {
    .name = "silu",
    .shape = same_as_first,
    .grad = [](const GradArgs& g) { return std::vector{silu_grad(g.in[0], g.dout[0])}; },
    .cost = pointwise_cost<4>,
    .in_roles = {Role::kCompute},
    .out_roles = {Role::kCompute},
    .cpu = [](const KernelArgs& k) { map_elements(k, [](auto x) { return x * sigmoid_of(x); }); },
    .cuda = silu_cuda,
    .alias =
        [](const NodeTypes&) {
          return std::vector{Alias{Alias::kReuse, 0, 0}};
        },
    .samples =
        [] {
          return Samples{{.in = {{DType::kF32, {5, 9}}}, .build = [](auto& v) { return std::vector{silu(v[0])}; }}};
        },
};

const OpCard silu_grad_card = {
    .name = "silu_grad",
    .shape = same_as_first,
    .cost = pointwise_cost<7>,
    .in_roles = {Role::kCompute},
    .out_roles = {Role::kCompute},
    .cpu = [](const KernelArgs& k) { map_elements2(k, [](auto x, auto dy) { return dy * silu_slope(x); }); },
    .cuda = silu_grad_cuda,
    .alias =
        [](const NodeTypes&) {
          return std::vector{Alias{Alias::kReuse, 1, 0}};
        },
};

Value silu(Value x) { return x.graph->add1(silu_card, {x}); }
Value silu_grad(Value x, Value dy) { return x.graph->add1(silu_grad_card, {x, dy}); }

}  // namespace shardit

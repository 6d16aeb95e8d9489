// SiLU (swish):  y = x s(x),  s(x) = 1 / (1 + e^-x);  dy/dx = s (1 + x (1 - s))
#include "ops/kernel.h"
#include "ops/math.h"
#include "ops/ops.h"

namespace shardit {
namespace {

void silu_cpu(const KernelArgs& k) {
  map_elements(k, [](auto x) { return x * sigmoid_of(x); });
}

void silu_grad_cpu(const KernelArgs& k) {
  map_elements2(k, [](auto x, auto dy) {
    const auto s = sigmoid_of(x);
    return dy * s * (1 + x * (1 - s));
  });
}

}  // namespace

const OpCard silu_card = {
    .name = "silu",
    .shape = same_as_first,
    .grad = [](const GradArgs& g) { return std::vector{silu_grad(g.in[0], g.dout[0])}; },
    .cost = pointwise_cost<10>,
    .in_roles = {Role::kCompute},
    .out_roles = {Role::kCompute},
    .cpu = silu_cpu,
    .alias = [](const NodeTypes&) { return std::vector{Alias{Alias::kReuse, 0, 0}}; },
    .samples = [] { return Samples{{.in = {{DType::kF32, {5, 8}}}, .build = [](auto& v) { return std::vector{silu(v[0])}; }}}; },
};

const OpCard silu_grad_card = {
    .name = "silu_grad",
    .shape = same_as_first,
    .cost = pointwise_cost<14>,
    .in_roles = {Role::kCompute},
    .out_roles = {Role::kCompute},
    .cpu = silu_grad_cpu,
    .alias = [](const NodeTypes&) { return std::vector{Alias{Alias::kReuse, 1, 0}}; },
};

Value silu(Value x) { return x.graph->add1(silu_card, {x}); }
Value silu_grad(Value x, Value dy) { return x.graph->add1(silu_grad_card, {x, dy}); }

}  // namespace shardit

// GELU, tanh form (Hendrycks & Gimpel 2016):  y = x/2 * (1 + tanh(u)),  u = sqrt(2/pi) * (x + 0.044715 x^3)
//   dy/dx = (1 + tanh u)/2 + x/2 * (1 - tanh^2 u) * du/dx
#include "ops/kernel.h"
#include "ops/math.h"
#include "ops/ops.h"

namespace shardit {
namespace {

template <typename T> T inner(T x) { return T(0.7978845608028654) * (x + T(0.044715) * x * x * x); }

template <typename T> T gelu_of(T x) { return T(0.5) * x * (T(1) + tanh_of(inner(x))); }

template <typename T> T gelu_slope(T x) {
  const T t = tanh_of(inner(x));
  const T du = T(0.7978845608028654) * (T(1) + T(3 * 0.044715) * x * x);
  return T(0.5) * (T(1) + t) + T(0.5) * x * (T(1) - t * t) * du;
}

void gelu_cpu(const KernelArgs& k) {
  map_elements(k, [](auto x) { return gelu_of(x); });
}

void gelu_grad_cpu(const KernelArgs& k) {
  map_elements2(k, [](auto x, auto dy) { return dy * gelu_slope(x); });
}

}  // namespace

const OpCard gelu_card = {
    .name = "gelu",
    .shape = same_as_first,
    .grad = [](const GradArgs& g) { return std::vector{gelu_grad(g.in[0], g.dout[0])}; },
    .cost = pointwise_cost<12>,
    .in_roles = {Role::kCompute},
    .out_roles = {Role::kCompute},
    .cpu = gelu_cpu,
    .alias = [](const NodeTypes&) { return std::vector{Alias{Alias::kReuse, 0, 0}}; },
    .samples = [] { return Samples{{.in = {{DType::kF32, {5, 8}}}, .build = [](auto& v) { return std::vector{gelu(v[0])}; }}}; },
};

const OpCard gelu_grad_card = {
    .name = "gelu_grad",
    .shape = same_as_first,
    .cost = pointwise_cost<20>,
    .in_roles = {Role::kCompute},
    .out_roles = {Role::kCompute},
    .cpu = gelu_grad_cpu,
    .alias = [](const NodeTypes&) { return std::vector{Alias{Alias::kReuse, 1, 0}}; },
};

Value gelu(Value x) { return x.graph->add1(gelu_card, {x}); }
Value gelu_grad(Value x, Value dy) { return x.graph->add1(gelu_grad_card, {x, dy}); }

}  // namespace shardit

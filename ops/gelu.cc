// GELU and its gradient (formulas in gelu.h).
#include "ops/gelu.h"

#include "ops/kernel.h"
#include "ops/ops.h"

namespace shardit {

DEVICE_KERNEL(gelu_cuda);
DEVICE_KERNEL(gelu_grad_cuda);

namespace {

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
    .cuda = gelu_cuda,
    .alias =
        [](const NodeTypes&) {
          return std::vector{Alias{Alias::kReuse, 0, 0}};
        },
    .samples =
        [] {
          return Samples{{.in = {{DType::kF32, {5, 8}}}, .build = [](auto& v) { return std::vector{gelu(v[0])}; }}};
        },
};

const OpCard gelu_grad_card = {
    .name = "gelu_grad",
    .shape = same_as_first,
    .cost = pointwise_cost<20>,
    .in_roles = {Role::kCompute},
    .out_roles = {Role::kCompute},
    .cpu = gelu_grad_cpu,
    .cuda = gelu_grad_cuda,
    .alias =
        [](const NodeTypes&) {
          return std::vector{Alias{Alias::kReuse, 1, 0}};
        },
};

Value gelu(Value x) { return x.graph->add1(gelu_card, {x}); }
Value gelu_grad(Value x, Value dy) { return x.graph->add1(gelu_grad_card, {x, dy}); }

}  // namespace shardit

// A linear layer followed by GELU, and the way back: products with an epilogue. z is rounded to its stored type before
// GELU reads it, as in the ops apart, so fusing changes no bit. (The library of a GPU rounds z beside it: linear.cu.)
#include <glog/logging.h>

#include "core/error.h"
#include "ops/cublaslt.h"
#include "ops/kernel.h"
#include "ops/linear.h"
#include "ops/ops.h"

namespace shardit {

DEVICE_KERNEL(linear_gelu_cuda);
DEVICE_KERNEL(linear_dgrad_gelu_cuda);
DEVICE_PREPARE(linear_gelu_cuda_prepare);
DEVICE_PREPARE(linear_dgrad_gelu_cuda_prepare);

namespace {

Tiling gelu_tiling(const NodeTypes& n) {
  CHECK(n.out[0].dtype == n.out[1].dtype);
  Product p = linear_product(n, n.out[1].dtype);
  p.epilogue = Epilogue::kGelu;
  return {p, row_grain(p.m, p.n)};
}
Tiling gelu_grad_tiling(const NodeTypes& n) {
  CHECK(n.in[2].dtype == n.out[0].dtype);
  Tiling t = dgrad_tiling(n);
  t.product.epilogue = Epilogue::kGeluGrad;
  return t;
}

void linear_gelu_cpu(const KernelArgs& k) {
  multiply(k, {k.in[0].data, k.in[1].data, bias_of(k), k.out[0].data, k.out[1].data});
}

void linear_dgrad_gelu_cpu(const KernelArgs& k) {
  multiply(k, {k.in[0].data, k.in[1].data, nullptr, k.out[0].data, k.in[2].data});
}

Cost fused_cost(const NodeTypes& n, double pointwise_flops) {
  return {.matmul_flops = linear_flops(n),
          .flops = pointwise_flops * static_cast<double>(n.out[0].shape.numel()),
          .bytes = streamed(n)};
}

Type f32(Shape shape) { return {DType::kF32, shape}; }

}  // namespace

const OpCard linear_gelu_card = {
    .name = "linear_gelu",
    .shape =
        [](const NodeTypes& n) {
          return std::vector{n.real_of(linear_shape(n)), n.real_of(linear_shape(n))};
        },
    .cost = [](const NodeTypes& n) { return fused_cost(n, 12); },
    .in_roles = {Role::kCompute},
    .out_roles = {Role::kCompute},
    .cpu = linear_gelu_cpu,
    .cuda = linear_gelu_cuda,
    .workspace = tiles_workspace<gelu_tiling>,
    .cuda_workspace = device_product_workspace,
    .prepare = prepare_tiles<gelu_tiling>,
    .cuda_prepare = linear_gelu_cuda_prepare,
    .expand =
        [](const std::vector<Value>& in, const Attrs*) {
          const Value z = linear(in[0], in[1], in.size() > 2 ? in[2] : Value{});
          return std::vector{gelu(z), z};
        },
    .samples =
        [] {
          const auto build = [](const std::vector<Value>& v) {
            return linear_gelu(v[0], v[1], v.size() > 2 ? v[2] : Value{});
          };
          return Samples{{.in = {f32({5, 7, 13}), f32({9, 13}), f32({9})}, .build = build},
                         {.in = {f32({301, 6}), f32({3, 6})}, .build = build},
                         {.in = {f32({3, 8}), f32({150, 8}), f32({150})}, .build = build},    // tiles of columns
                         {.in = {f32({40, 16}), f32({24, 16}), f32({24})}, .build = build}};  // a library's epilogue
        },
};

const OpCard linear_dgrad_gelu_card = {
    .name = "linear_dgrad_gelu",
    .shape =
        [](const NodeTypes& n) {
          const Shape shape = linear_dgrad_shape(n);
          REQUIRE(n.in_shape(2) == shape,
                  "linear_dgrad_gelu: z is " + n.in_shape(2).str() + ", expected " + shape.str());
          return std::vector{n.real_of(shape)};
        },
    .cost = [](const NodeTypes& n) { return fused_cost(n, 20); },
    .in_roles = {Role::kCompute},
    .out_roles = {Role::kCompute},
    .cpu = linear_dgrad_gelu_cpu,
    .cuda = linear_dgrad_gelu_cuda,
    .workspace = tiles_workspace<gelu_grad_tiling>,
    .cuda_workspace = device_product_workspace,
    .prepare = prepare_tiles<gelu_grad_tiling>,
    .cuda_prepare = linear_dgrad_gelu_cuda_prepare,
    .expand = [](const std::vector<Value>& in,
                 const Attrs*) { return std::vector{gelu_grad(in[2], linear_dgrad(in[0], in[1]))}; },
    .samples =
        [] {
          const auto build = [](const std::vector<Value>& v) {
            return std::vector{linear_dgrad_gelu(v[0], v[1], v[2])};
          };
          return Samples{{.in = {f32({5, 7, 9}), f32({9, 13}), f32({5, 7, 13})}, .build = build},
                         {.in = {f32({301, 3}), f32({3, 6}), f32({301, 6})}, .build = build},
                         {.in = {f32({3, 8}), f32({8, 150}), f32({3, 150})}, .build = build},
                         {.in = {f32({40, 16}), f32({16, 24}), f32({40, 24})}, .build = build}};
        },
};

std::vector<Value> linear_gelu(Value x, Value w, Value b) {
  return x.graph->add(linear_gelu_card, b ? std::vector{x, w, b} : std::vector{x, w});
}

Value linear_dgrad_gelu(Value dy, Value w, Value z) { return dy.graph->add1(linear_dgrad_gelu_card, {dy, w, z}); }

}  // namespace shardit

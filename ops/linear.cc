// A linear layer, y = x w^T + b, and its two gradients. w is (M, K) as released (out, in); a convolution's weight
// (C, c, p, p) is used as (C, c*p*p). Sums are fp32; the bias is part of the product.
#include "ops/linear.h"

#include "core/error.h"
#include "ops/cublaslt.h"
#include "ops/kernel.h"
#include "ops/ops.h"

namespace shardit {

DEVICE_KERNEL(linear_cuda);
DEVICE_PREPARE(linear_cuda_prepare);
DEVICE_PREPARE(linear_dgrad_cuda_prepare);
DEVICE_PREPARE(linear_wgrad_cuda_prepare);

namespace {

int64_t rounded_up(int64_t n, int64_t multiple) { return tile_count(n, multiple) * multiple; }

int64_t out_features(const Shape& w) { return w[0]; }
int64_t in_features(const Shape& w) { return w.numel() / std::max<int64_t>(w[0], 1); }
int64_t rows_of(const Shape& x) { return x.numel() / std::max<int64_t>(x[-1], 1); }

MatrixLayout row_major(DType dtype, int64_t columns) { return {dtype, columns, 1}; }
MatrixLayout transposed(DType dtype, int64_t rows) { return {dtype, 1, rows}; }

// Tiles of dw. A tile packs its slice of dy, and the library, or ours where dw has few rows, all of x that it uses too:
// few and large tiles are better for each, an even number of them balances two threads.
Grain wgrad_grain(const Product& p) {
  constexpr int64_t kRows = 256, kColumns = 1024;
  if (p.m <= kRows && p.n >= 2 * p.m && is_packed(p))
    return {p.m, tile_count(p.n, 2 * tile_count(p.n, kColumns))};
  const int64_t tiles = 2 * tile_count(p.m, kRows);
  return {rounded_up(tile_count(p.m, tiles), 16), p.n};
}

Tiling linear_tiling(const NodeTypes& n) {
  const Product p = linear_product(n, n.out[0].dtype);
  return {p, row_grain(p.m, p.n)};
}

void product_cpu(const KernelArgs& k) {
  multiply(k, {k.in[0].data, k.in[1].data, bias_of(k), k.out[0].data});
}

Cost product_cost(const NodeTypes& n) { return {.matmul_flops = linear_flops(n), .bytes = streamed(n)}; }

Samples linear_samples() {
  const auto build = [](const std::vector<Value>& v) {
    return std::vector{linear(v[0], v[1], v.size() > 2 ? v[2] : Value{})};
  };
  const auto f32 = [](Shape shape) { return Type{DType::kF32, shape}; };
  return Samples{{.in = {f32({5, 7, 13}), f32({9, 13}), f32({9})}, .build = build},
                 {.in = {f32({6, 12}), f32({5, 3, 2, 2}), f32({5})}, .build = build},  // a convolution's weight
                 {.in = {f32({301, 6}), f32({3, 6})}, .build = build},              // no bias; several tiles and a rest
                 {.in = {f32({3, 8}), f32({150, 8}), f32({150})}, .build = build},  // few rows: tiles of columns
                 {.in = {f32({40, 16}), f32({24, 16}), f32({24})}, .build = build}};  // a GPU library's wide accesses
}

}  // namespace

Product linear_product(const NodeTypes& n, DType out) {
  const Shape &x = n.in_shape(0), &w = n.in_shape(1);
  const int64_t m = out_features(w), k = in_features(w);
  return {.m = rows_of(x),
          .n = m,
          .k = k,
          .a = row_major(n.in[0].dtype, k),
          .b = transposed(n.in[1].dtype, k),
          .c = row_major(out, m),
          .bias = n.in.size() > 2};
}

Product linear_dgrad_product(const NodeTypes& n, DType out) {
  const Shape &dy = n.in_shape(0), &w = n.in_shape(1);
  const int64_t m = out_features(w), k = in_features(w);
  return {.m = rows_of(dy),
          .n = k,
          .k = m,
          .a = row_major(n.in[0].dtype, m),
          .b = row_major(n.in[1].dtype, k),
          .c = row_major(out, k)};
}

Product linear_wgrad_product(const NodeTypes& n) {
  const Shape &dy = n.in_shape(0), &x = n.in_shape(1);
  return {.m = dy[-1],
          .n = x[-1],
          .k = rows_of(x),
          .a = transposed(n.in[0].dtype, dy[-1]),
          .b = row_major(n.in[1].dtype, x[-1]),
          .c = row_major(n.out[0].dtype, x[-1])};
}

Grain row_grain(int64_t rows, int64_t columns) {
  constexpr int64_t kTiles = 8;  // enough for threads to balance
  const int64_t row_tiles = std::max(std::min(kTiles, tile_count(rows, 64)), 2 * tile_count(rows, 512));
  const int64_t grain = rounded_up(tile_count(rows, row_tiles), 16);
  if (row_tiles >= kTiles) return {grain, columns};
  return {grain, std::min(columns, rounded_up(tile_count(columns * row_tiles, kTiles), 64))};
}

Shape linear_shape(const NodeTypes& n) {
  const Shape &x = n.in_shape(0), &w = n.in_shape(1);
  REQUIRE(x.rank() > 0 && w.rank() > 1,
          "linear: x " + x.str() + " and weight " + w.str() + ": expected (…, K) and (M, K)");
  REQUIRE(x[-1] == in_features(w), "linear: x " + x.str() + " has " + std::to_string(x[-1]) + " features, the weight " +
                                       w.str() + " expects " + std::to_string(in_features(w)));
  if (n.in.size() > 2)
    REQUIRE(n.in_shape(2) == Shape{out_features(w)}, "linear: the bias is " + n.in_shape(2).str() + ", the weight " +
                                                         w.str() + " expects " + Shape{out_features(w)}.str());
  return x.with(-1, out_features(w));
}

Shape linear_dgrad_shape(const NodeTypes& n) {
  const Shape &dy = n.in_shape(0), &w = n.in_shape(1);
  REQUIRE(dy.rank() > 0 && w.rank() > 1 && dy[-1] == out_features(w), "linear_dgrad: dy " + dy.str() +
                                                                          " does not fit the weight " + w.str() +
                                                                          ": expected its first extent as features");
  return dy.with(-1, in_features(w));
}

Shape linear_wgrad_shape(const NodeTypes& n) {
  const Shape &dy = n.in_shape(0), &x = n.in_shape(1), &w = n.attr<WeightShapeAttrs>().shape;
  REQUIRE(dy.rank() > 0 && x.rank() > 0 && rows_of(dy) == rows_of(x),
          "linear_wgrad: dy " + dy.str() + " and x " + x.str() + " have another number of rows");
  REQUIRE(w.numel() == dy[-1] * x[-1], "linear_wgrad: dy " + dy.str() + " and x " + x.str() + " give " +
                                           std::to_string(dy[-1] * x[-1]) + " elements, the weight " + w.str() +
                                           " has " + std::to_string(w.numel()));
  return w;
}

double linear_flops(const NodeTypes& n) {
  return 2.0 * static_cast<double>(rows_of(n.in_shape(0))) * static_cast<double>(n.in_shape(1).numel());
}

double linear_wgrad_flops(const NodeTypes& n) {
  return 2.0 * static_cast<double>(rows_of(n.in_shape(0))) * static_cast<double>(n.out[0].shape.numel());
}

Tiling dgrad_tiling(const NodeTypes& n) {
  const Product p = linear_dgrad_product(n, n.out[0].dtype);
  return {p, row_grain(p.m, p.n)};
}
Tiling wgrad_tiling(const NodeTypes& n) {
  const Product p = linear_wgrad_product(n);
  return {p, wgrad_grain(p)};
}

const OpCard linear_card = {
    .name = "linear",
    .shape = [](const NodeTypes& n) { return std::vector{n.real_of(linear_shape(n))}; },
    .grad =
        [](const GradArgs& g) {
          const Value x = g.in[0], w = g.in[1], dy = g.dout[0];
          std::vector<Value> din = {linear_dgrad(dy, w), linear_wgrad(dy, x, w.shape())};
          if (g.in.size() > 2) din.push_back(sum_leading(dy, g.in[2].shape()));
          return din;
        },
    .cost = product_cost,
    .in_roles = {Role::kCompute},
    .out_roles = {Role::kCompute},
    .cpu = product_cpu,
    .cuda = linear_cuda,
    .workspace = tiles_workspace<linear_tiling>,
    .cuda_workspace = device_product_workspace,
    .prepare = prepare_tiles<linear_tiling>,
    .cuda_prepare = linear_cuda_prepare,
    .samples = linear_samples,
};

const OpCard linear_dgrad_card = {
    .name = "linear_dgrad",
    .shape = [](const NodeTypes& n) { return std::vector{n.real_of(linear_dgrad_shape(n))}; },
    .cost = product_cost,
    .in_roles = {Role::kCompute},
    .out_roles = {Role::kCompute},
    .cpu = product_cpu,
    .cuda = linear_cuda,
    .workspace = tiles_workspace<dgrad_tiling>,
    .cuda_workspace = device_product_workspace,
    .prepare = prepare_tiles<dgrad_tiling>,
    .cuda_prepare = linear_dgrad_cuda_prepare,
};

const OpCard linear_wgrad_card = {
    .name = "linear_wgrad",
    .shape = [](const NodeTypes& n) { return std::vector{n.real_of(linear_wgrad_shape(n))}; },
    .cost = [](const NodeTypes& n) { return Cost{.matmul_flops = linear_wgrad_flops(n), .bytes = streamed(n)}; },
    .in_roles = {Role::kCompute},
    .out_roles = {Role::kWeightGradient},
    .cpu = product_cpu,
    .cuda = linear_cuda,
    .workspace = tiles_workspace<wgrad_tiling>,
    .cuda_workspace = device_product_workspace,
    .prepare = prepare_tiles<wgrad_tiling>,
    .cuda_prepare = linear_wgrad_cuda_prepare,
};

Value linear(Value x, Value w, Value b) {
  return x.graph->add1(linear_card, b ? std::vector{x, w, b} : std::vector{x, w});
}

Value linear_dgrad(Value dy, Value w) { return dy.graph->add1(linear_dgrad_card, {dy, w}); }

Value linear_wgrad(Value dy, Value x, Shape shape) {
  auto attrs = std::make_shared<WeightShapeAttrs>();
  attrs->shape = shape;
  return dy.graph->add1(linear_wgrad_card, {dy, x}, attrs);
}

}  // namespace shardit

// Layer norm over the innermost axis, without affine part: y = (x - mean) * rstd, rstd = 1 / sqrt(var + epsilon).
//   dx = rstd * (dy - mean(dy) - y * mean(dy * y))
// The variance is a second pass over the row, which is in the first-level cache by then. Bound by bytes.
#include "ops/layer_norm.h"

#include "core/error.h"
#include "ops/kernel.h"
#include "ops/ops.h"
#include "ops/vector.h"

namespace shardit {

DEVICE_KERNEL(layer_norm_cuda);
DEVICE_KERNEL(layer_norm_grad_cuda);

namespace {

// The sum over i < n of term(i), where term gives a vector of lanes i, i + 1, …: whole vectors in two alternating
// sums, then the rest, then over the lanes.
template <typename S, typename F> S sum_of(int64_t n, F&& term) {
  constexpr int64_t kStep = kVectorLanes<S>;
  Vector<S> even{}, odd{};
  int64_t i = 0;
  for (; i + 2 * kStep <= n; i += 2 * kStep) {
    even += term(i, kStep);
    odd += term(i + kStep, kStep);
  }
  for (; i < n; i += kStep) even += term(i, std::min(kStep, n - i));
  return sum(even + odd);
}

// `lanes` elements from p, zeros after them.
template <typename S, typename T> Vector<S> lanes_at(const T* p, int64_t lanes) {
  return lanes == kVectorLanes<S> ? load(p) : load_part<S>(p, lanes);
}

template <typename S, typename F, typename T> void write_row(T* y, int64_t n, F&& value) {
  constexpr int64_t kStep = kVectorLanes<S>;
  int64_t i = 0;
  for (; i + kStep <= n; i += kStep) store(y + i, value(i, kStep));
  if (i < n) store_part<S>(y + i, value(i, n - i), n - i);
}

constexpr int64_t kTileElements = 32768;

int64_t rows_per_tile(int64_t columns) { return std::max<int64_t>(1, kTileElements / std::max<int64_t>(columns, 1)); }

// Rows go through each pass in groups: a row's sum, division and root are one chain of latencies, and the chains of
// several rows overlap. A group stays in the first-level cache.
constexpr int64_t kGroup = 4;

void layer_norm_cpu(const KernelArgs& k) {
  visit_real(k.in[0].dtype(), k.out[0].dtype(), [&](auto tx, auto ty) {
    using X = decltype(tx);
    using Y = decltype(ty);
    using S = Accum<X>;
    const int64_t columns = k.in[0].shape()[-1], rows = k.in[0].numel() / columns, grain = rows_per_tile(columns);
    const S epsilon = static_cast<S>(k.attr<NormAttrs>().epsilon);
    k.pool->run(tile_count(rows, grain), [&](int64_t t, int) {
      const Tile tile = tile_at(rows, grain, t);
      for (int64_t first = tile.begin; first < tile.end; first += kGroup) {
        const int64_t count = std::min(kGroup, tile.end - first);
        const X* x = k.in[0].as<X>() + first * columns;
        Y* y = k.out[0].as<Y>() + first * columns;
        S *mean = k.out[1].as<S>() + first, *rstd = k.out[2].as<S>() + first;
        for (int64_t r = 0; r < count; ++r)
          mean[r] =
              sum_of<S>(columns, [row = x + r * columns](int64_t i, int64_t n) { return lanes_at<S>(row + i, n); }) /
              static_cast<S>(columns);
        for (int64_t r = 0; r < count; ++r) {
          const S squares = sum_of<S>(columns, [row = x + r * columns, mean = mean[r]](int64_t i, int64_t n) {
            const Vector<S> d = (n == kVectorLanes<S> ? load(row + i) : load_part<S>(row + i, n, mean)) - mean;
            return d * d;
          });
          rstd[r] = S(1) / std::sqrt(squares / static_cast<S>(columns) + epsilon);
        }
        for (int64_t r = 0; r < count; ++r)
          write_row<S>(y + r * columns, columns,
                       [row = x + r * columns, mean = mean[r], rstd = rstd[r]](int64_t i, int64_t n) {
                         return (lanes_at<S>(row + i, n) - mean) * rstd;
                       });
      }
    });
  });
}

void layer_norm_grad_cpu(const KernelArgs& k) {
  visit_real(k.in[0].dtype(), k.in[1].dtype(), k.out[0].dtype(), [&](auto td, auto tx, auto tdx) {
    using D = decltype(td);
    using X = decltype(tx);
    using DX = decltype(tdx);
    using S = Accum<X>;
    const int64_t columns = k.in[1].shape()[-1], rows = k.in[1].numel() / columns, grain = rows_per_tile(columns);
    k.pool->run(tile_count(rows, grain), [&](int64_t t, int) {
      const Tile tile = tile_at(rows, grain, t);
      for (int64_t first = tile.begin; first < tile.end; first += kGroup) {
        const int64_t count = std::min(kGroup, tile.end - first);
        const D* dy = k.in[0].as<D>() + first * columns;
        const X* x = k.in[1].as<X>() + first * columns;
        DX* dx = k.out[0].as<DX>() + first * columns;
        const S *mean = k.in[2].as<S>() + first, *rstd = k.in[3].as<S>() + first;
        S a[kGroup], b[kGroup];
        for (int64_t r = 0; r < count; ++r) {
          const D* d = dy + r * columns;
          const S sum = sum_of<S>(columns, [d](int64_t i, int64_t n) { return lanes_at<S>(d + i, n); });
          const S product = sum_of<S>(columns, [d, row = x + r * columns, mean = mean[r]](int64_t i, int64_t n) {
            return lanes_at<S>(d + i, n) * (lanes_at<S>(row + i, n) - mean);
          });
          a[r] = sum / static_cast<S>(columns);
          b[r] = rstd[r] * rstd[r] * (product / static_cast<S>(columns));
        }
        for (int64_t r = 0; r < count; ++r)
          write_row<S>(dx + r * columns, columns,
                       [d = dy + r * columns, row = x + r * columns, mean = mean[r], rstd = rstd[r], a = a[r],
                        b = b[r]](int64_t i, int64_t n) {
                         return rstd * (lanes_at<S>(d + i, n) - a - (lanes_at<S>(row + i, n) - mean) * b);
                       });
      }
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

// Layer norm fused with the residual sum before it, and its gradient with the sum of gradients after it: a residual
// stream goes through memory once. Sums are rounded to the stream's type as in the ops apart, so fusing changes no bit.
#include "core/error.h"
#include "ops/cast.h"
#include "ops/layer_norm.h"
#include "ops/layer_norm_rows.h"
#include "ops/ops.h"

namespace shardit {

DEVICE_KERNEL(add_layer_norm_cuda);
DEVICE_KERNEL(layer_norm_grad_add_cuda);
DEVICE_KERNEL(layer_norm_grad_add_cast_cuda);

namespace {

using namespace layer_norm_rows;

// x as it is read after it was stored as T.
template <typename T, typename V> V rounded(V x) {
  if constexpr (!std::is_same_v<T, BF16>)
    return x;
  else {
    T stored[kVectorLanes<float>];
    store(stored, x);
    return load(stored);
  }
}

// in = (x, y), where y may repeat; out = (sum, normalised, mean, rstd)
void add_layer_norm_cpu(const KernelArgs& k) {
  visit_real(k.in[0].dtype(), k.in[1].dtype(), k.out[1].dtype(), [&]<typename X, typename A, typename Y>(X, A, Y) {
    using S = Accum<X>;
    const int64_t columns = k.in[0].shape()[-1], rows = k.in[0].numel() / columns;
    const int64_t added_rows = k.in[1].numel() / columns;
    const S epsilon = static_cast<S>(k.attr<NormAttrs>().epsilon);
    for_groups(*k.pool, rows, columns, [&](int64_t first, int64_t count) {
      X* sum = k.out[0].as<X>() + first * columns;
      for (int64_t r = 0; r < count; ++r) {
        const X* x = k.in[0].as<X>() + (first + r) * columns;
        const A* added = k.in[1].as<A>() + (first + r) % added_rows * columns;
        write_row<S>(sum + r * columns, columns,
                     [=](int64_t i, int64_t n) { return load_lanes<S>(x + i, n) + load_lanes<S>(added + i, n); });
      }
      normalize(count, columns, sum, k.out[1].as<Y>() + first * columns, k.out[2].as<S>() + first,
                k.out[3].as<S>() + first, epsilon);
    });
  });
}

// in = (dy, x, mean, rstd, g); out = (dx + g). Calls after(first element, elements) for what is written.
template <typename F> void layer_norm_grad_add(const KernelArgs& k, F&& after) {
  visit_real(k.in[0].dtype(), k.in[1].dtype(), k.in[4].dtype(), [&]<typename D, typename X, typename G>(D, X, G) {
    using S = Accum<X>;
    const int64_t columns = k.in[1].shape()[-1], rows = k.in[1].numel() / columns;
    for_groups(*k.pool, rows, columns, [&](int64_t first, int64_t count) {
      differentiate(count, columns, k.in[0].as<D>() + first * columns, k.in[1].as<X>() + first * columns,
                    k.in[2].as<S>() + first, k.in[3].as<S>() + first, [&](int64_t r, auto&& dx) {
                      const G* g = k.in[4].as<G>() + (first + r) * columns;
                      write_row<S>(k.out[0].as<X>() + (first + r) * columns, columns, [&](int64_t i, int64_t n) {
                        return rounded<X>(dx(i, n)) + load_lanes<S>(g + i, n);
                      });
                    });
      after(first * columns, count * columns);
    });
  });
}

void layer_norm_grad_add_cpu(const KernelArgs& k) {
  layer_norm_grad_add(k, [](int64_t, int64_t) {});
}

// The same, and out[1] = the sum in another type.
void layer_norm_grad_add_cast_cpu(const KernelArgs& k) {
  visit_real(k.out[0].dtype(), [&]<typename X>(X) {
    visit_real(k.out[1].dtype(), [&]<typename Y>(Y) {
      layer_norm_grad_add(k, [&](int64_t first, int64_t elements) {
        const X* x = k.out[0].as<X>() + first;
        Y* y = k.out[1].as<Y>() + first;
        for (int64_t i = 0; i < elements; ++i) y[i] = Y(static_cast<Accum<Y>>(static_cast<Accum<X>>(x[i])));
      });
    });
  });
}

std::vector<Type> add_layer_norm_shape(const NodeTypes& n) {
  const Shape &x = n.in_shape(0), &y = n.in_shape(1);
  REQUIRE(x.rank() > 0 && x[-1] > 0 && is_suffix(y, x) && y.rank() > 0,
          "add_layer_norm: adds " + y.str() + " to " + x.str() + ": expected the last axes of the first");
  const Shape rows(x.begin(), x.end() - 1);
  return {n.in[0], n.real_of(x), n.real_of(rows), n.real_of(rows)};
}

std::vector<Type> grad_add_shape(const NodeTypes& n) {
  const Shape &dy = n.in_shape(0), &x = n.in_shape(1), &g = n.in_shape(4);
  REQUIRE(dy == x && g == x, "layer_norm_grad_add: dy is " + dy.str() + ", x is " + x.str() + ", g is " + g.str());
  return {n.real_of(x)};
}

std::vector<Alias> sum_reuses_g(const NodeTypes&) { return {Alias{Alias::kReuse, 4, 0}}; }

Value expanded_grad_add(const std::vector<Value>& in) {
  return add(layer_norm_grad(in[0], in[1], in[2], in[3]), in[4]);
}

Type f32(Shape shape) { return {DType::kF32, shape}; }

// One of dy, x, mean, rstd, g, of that many rows.
Sample grad_sample(int64_t rows, int64_t columns, std::vector<Value> (*build)(const std::vector<Value>&)) {
  const Type x = f32({rows, columns}), row = f32({rows});
  return {.in = {x, x, row, row, x}, .build = build, .positive = {3}};
}

}  // namespace

const OpCard add_layer_norm_card = {
    .name = "add_layer_norm",
    .shape = add_layer_norm_shape,
    .cost = pointwise_cost<8>,
    .in_roles = {Role::kStream, Role::kCompute},
    .out_roles = {Role::kStream, Role::kCompute, Role::kExact, Role::kExact},
    .cpu = add_layer_norm_cpu,
    .cuda = add_layer_norm_cuda,
    .alias =
        [](const NodeTypes&) {
          return std::vector{Alias{Alias::kReuse, 0, 0}};
        },
    .expand =
        [](const std::vector<Value>& in, const Attrs* attrs) {
          const Value sum = add(in[0], in[1]);
          std::vector<Value> out = layer_norm(sum, static_cast<const NormAttrs&>(*attrs).epsilon);
          out.insert(out.begin(), sum);
          return out;
        },
    .samples =
        [] {
          const auto sample = [](Shape x, Shape y) {
            return Sample{.in = {f32(x), f32(y)},
                          .build = [](const std::vector<Value>& v) { return add_layer_norm(v[0], v[1], 1e-6); }};
          };
          return Samples{sample({5, 7, 24}, {5, 7, 24}), sample({3, 4, 97}, {4, 97}),  // y repeats
                         sample({700, 64}, {700, 64}),                                 // several tiles
                         sample({3, 1152}, {3, 1152}), sample({2, 2600}, {2, 2600})};  // registers' limit
        },
};

const OpCard layer_norm_grad_add_cast_card = {
    .name = "layer_norm_grad_add_cast",
    .shape =
        [](const NodeTypes& n) {
          std::vector<Type> types = grad_add_shape(n);
          types.push_back({n.attr<CastAttrs>().dtype, types[0].shape});
          return types;
        },
    .cost = pointwise_cost<11>,
    .in_roles = {Role::kCompute, Role::kStream, Role::kExact, Role::kExact, Role::kStream},
    .out_roles = {Role::kStream, Role::kFixed},
    .cpu = layer_norm_grad_add_cast_cpu,
    .cuda = layer_norm_grad_add_cast_cuda,
    .alias = sum_reuses_g,
    .expand =
        [](const std::vector<Value>& in, const Attrs* attrs) {
          const Value sum = expanded_grad_add(in);
          return std::vector{sum, cast(sum, static_cast<const CastAttrs&>(*attrs).dtype)};
        },
    .samples =
        [] {
          const auto build = [](const std::vector<Value>& v) {
            return layer_norm_grad_add_cast(v[0], v[1], v[2], v[3], v[4], DType::kF32);
          };
          return Samples{grad_sample(35, 24, build), grad_sample(3, 97, build), grad_sample(3, 1152, build)};
        },
};

const OpCard layer_norm_grad_add_card = {
    .name = "layer_norm_grad_add",
    .shape = grad_add_shape,
    .cost = pointwise_cost<11>,
    .in_roles = {Role::kCompute, Role::kStream, Role::kExact, Role::kExact, Role::kStream},
    .out_roles = {Role::kStream},
    .cpu = layer_norm_grad_add_cpu,
    .cuda = layer_norm_grad_add_cuda,
    .alias = sum_reuses_g,
    .expand = [](const std::vector<Value>& in, const Attrs*) { return std::vector{expanded_grad_add(in)}; },
    .samples =
        [] {
          const auto build = [](const std::vector<Value>& v) {
            return std::vector{layer_norm_grad_add(v[0], v[1], v[2], v[3], v[4])};
          };
          return Samples{grad_sample(35, 24, build), grad_sample(3, 97, build), grad_sample(700, 64, build),
                         grad_sample(3, 1152, build), grad_sample(2, 2600, build)};
        },
};

std::vector<Value> add_layer_norm(Value x, Value y, double epsilon) {
  auto attrs = std::make_shared<NormAttrs>();
  attrs->epsilon = epsilon;
  return x.graph->add(add_layer_norm_card, {x, y}, attrs);
}

Value layer_norm_grad_add(Value dy, Value x, Value mean, Value rstd, Value g) {
  return dy.graph->add1(layer_norm_grad_add_card, {dy, x, mean, rstd, g});
}

std::vector<Value> layer_norm_grad_add_cast(Value dy, Value x, Value mean, Value rstd, Value g, DType dtype) {
  auto attrs = std::make_shared<CastAttrs>();
  attrs->dtype = dtype;
  return dy.graph->add(layer_norm_grad_add_cast_card, {dy, x, mean, rstd, g}, attrs);
}

}  // namespace shardit

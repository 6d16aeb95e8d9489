// y = a + b, where b may lack a's first axes and is then broadcast over them; and its adjoint, the sum over leading
// axes.
#include "core/error.h"
#include "ops/kernel.h"
#include "ops/ops.h"
#include "ops/sum_leading.h"

namespace shardit {

DEVICE_KERNEL(add_cuda);
DEVICE_KERNEL(sum_leading_cuda);
DEVICE_KERNEL(residual_stream_cuda);

namespace {

struct SumAttrs : Attrs {
  Shape shape;
  std::string text() const override { return shape.str(); }
};

void add_broadcast(const KernelArgs& k) {
  visit_real(k.in[0].dtype(), k.in[1].dtype(), k.out[0].dtype(), [&](auto ta, auto tb, auto ty) {
    using A = decltype(ta);
    using B = decltype(tb);
    using Y = decltype(ty);
    const int64_t inner = k.in[1].numel(), outer = k.out[0].numel() / inner;
    k.pool->run(outer, [&](int64_t o, int) {
      const A* a = k.in[0].as<A>() + o * inner;
      const B* b = k.in[1].as<B>();
      Y* y = k.out[0].as<Y>() + o * inner;
      for (int64_t i = 0; i < inner; ++i) y[i] = Y(static_cast<Accum<A>>(a[i]) + static_cast<Accum<A>>(b[i]));
    });
  });
}

void add_cpu(const KernelArgs& k) {
  if (k.in[1].numel() == k.out[0].numel())
    map_elements2(k, [](auto a, auto b) { return a + b; });
  else
    add_broadcast(k);
}

int64_t sum_workspace(const NodeTypes& n) { return sum_leading_order::workspace(n.in[0], n.out[0].shape.numel()); }

void sum_leading_cpu(const KernelArgs& k) {
  visit_real(k.in[0].dtype(), k.out[0].dtype(), [&](auto tx, auto ty) {
    using X = decltype(tx);
    using Y = decltype(ty);
    using S = Accum<X>;
    const int64_t inner = k.out[0].numel(), rows = k.in[0].numel() / inner,
                  of_block = sum_leading_order::rows_of_block(rows), blocks = tile_count(rows, of_block);
    S* partial = reinterpret_cast<S*>(k.workspace);
    k.pool->run(blocks, [&](int64_t b, int) {
      const Tile tile = tile_at(rows, of_block, b);
      S* sum = partial + b * inner;
      std::fill(sum, sum + inner, S(0));
      for (int64_t r = tile.begin; r < tile.end; ++r) {
        const X* x = k.in[0].as<X>() + r * inner;
        for (int64_t i = 0; i < inner; ++i) sum[i] += static_cast<S>(x[i]);
      }
    });
    constexpr int64_t kColumns = 1024;
    k.pool->run(tile_count(inner, kColumns), [&](int64_t t, int) {
      const Tile tile = tile_at(inner, kColumns, t);
      for (int64_t b = 1; b < blocks; ++b)
        for (int64_t i = tile.begin; i < tile.end; ++i) partial[i] += partial[b * inner + i];
      for (int64_t i = tile.begin; i < tile.end; ++i) k.out[0].as<Y>()[i] = Y(partial[i]);
    });
  });
}

}  // namespace

const OpCard add_card = {
    .name = "add",
    .shape =
        [](const NodeTypes& n) {
          REQUIRE(is_suffix(n.in[1].shape, n.in[0].shape), "adds " + n.in[1].shape.str() + " to " +
                                                               n.in[0].shape.str() +
                                                               ": the second must have the last axes of the first");
          return std::vector{n.in[0]};
        },
    .grad =
        [](const GradArgs& g) {
          return std::vector{g.dout[0], sum_leading(g.dout[0], g.in[1].shape())};
        },
    .cost = pointwise_cost<1>,
    .in_roles = {Role::kAny},
    .out_roles = {Role::kAny},
    .cpu = add_cpu,
    .cuda = add_cuda,
    .alias =
        [](const NodeTypes&) {
          return std::vector{Alias{Alias::kReuse, 0, 0}};
        },
    .samples =
        [] {
          const auto build = [](const std::vector<Value>& v) { return std::vector{add(v[0], v[1])}; };
          return Samples{{.in = {{DType::kF32, {5, 8}}, {DType::kF32, {5, 8}}}, .build = build},
                         {.in = {{DType::kF32, {300, 2, 8}}, {DType::kF32, {2, 8}}}, .build = build},
                         {.in = {{DType::kF32, {5, 8}}, {DType::kF32, {5, 8}}},
                          .build = [](const std::vector<Value>& v) { return std::vector{add(gelu(v[0]), v[1])}; }}};
        },
};

const OpCard sum_leading_card = {
    .name = "sum_leading",
    .shape =
        [](const NodeTypes& n) {
          const Shape& shape = n.attr<SumAttrs>().shape;
          REQUIRE(is_suffix(shape, n.in[0].shape),
                  "sums " + n.in[0].shape.str() + " to " + shape.str() + ": expected its last axes");
          return std::vector{n.real_of(shape)};
        },
    .cost =
        [](const NodeTypes& n) {
          return Cost{.flops = static_cast<double>(n.in[0].shape.numel()), .bytes = streamed(n)};
        },
    .in_roles = {Role::kCompute},
    .out_roles = {Role::kWeightGradient},
    .cpu = sum_leading_cpu,
    .cuda = sum_leading_cuda,
    .workspace = [](const NodeTypes& n, int) { return sum_workspace(n); },
    .cuda_workspace = sum_workspace,
    .samples =
        [] {
          return Samples{{.in = {{DType::kF32, {300, 2, 8}}},
                          .build =
                              [](auto& v) {
                                return std::vector{sum_leading(v[0], {2, 8})};
                              }},
                         {.in = {{DType::kF32, {17000, 3}}},  // more than 128 blocks
                          .build = [](auto& v) { return std::vector{sum_leading(v[0], {3})}; }}};
        },
};

const OpCard residual_stream_card = {
    .name = "residual_stream",
    .shape = same_as_first,
    .grad = [](const GradArgs& g) { return std::vector{g.dout[0]}; },
    .cost = pointwise_cost<0>,
    .in_roles = {Role::kAny},
    .out_roles = {Role::kStream},
    .cpu =
        [](const KernelArgs& k) {
          if (k.in[0].data != k.out[0].data) map_elements(k, [](auto x) { return x; });
        },
    .cuda = residual_stream_cuda,
    .alias =
        [](const NodeTypes& n) {
          return n.in[0] == n.out[0] ? std::vector{Alias{Alias::kView, 0, 0}} : std::vector<Alias>{};
        },
    .samples =
        [] {
          return Samples{{.in = {{DType::kF32, {5, 8}}},
                          .build = [](const std::vector<Value>& v) { return std::vector{residual_stream(v[0])}; }}};
        },
};

Value residual_stream(Value x) { return x.graph->add1(residual_stream_card, {x}); }

Value add(Value x, Value y) { return x.graph->add1(add_card, {x, y}); }

Value sum_leading(Value x, Shape shape) {
  if (x.shape() == shape) return x;
  auto attrs = std::make_shared<SumAttrs>();
  attrs->shape = shape;
  return x.graph->add1(sum_leading_card, {x}, attrs);
}

}  // namespace shardit

// Linear combinations: scale and mix with one factor per image, in fp32 whatever the type of x, since diffusion adds
// what the network made to noise of other sizes; combine with factors of the sampler's step, in fp64 inside.
#include "ops/images.h"
#include "ops/ops.h"

namespace shardit {

DEVICE_KERNEL(scale_cuda);
DEVICE_KERNEL(mix_cuda);

namespace {

void scale_cpu(const KernelArgs& k) {
  visit_real(k.in[0].dtype(), k.in[1].dtype(), k.out[0].dtype(), [&](auto ta, auto tx, auto ty) {
    using A = decltype(ta);
    using X = decltype(tx);
    using Y = decltype(ty);
    using S = Accum<Y>;
    const X* x = k.in[1].as<X>();
    Y* y = k.out[0].as<Y>();
    for_image_tiles(*k.pool, k.in[1].shape()[0], per_image(k.in[1].shape()),
                    [&](int64_t b, int64_t begin, int64_t end) {
                      const S a = static_cast<S>(k.in[0].as<A>()[b]);
                      for (int64_t i = begin; i < end; ++i) y[i] = Y(a * static_cast<S>(x[i]));
                    });
  });
}

// y = a x + b y, one rounding of the sum: fma(a, x, b y).
void mix_cpu(const KernelArgs& k) {
  visit_real(k.in[1].dtype(), k.in[3].dtype(), k.out[0].dtype(), [&](auto tx, auto ty, auto tz) {
    using X = decltype(tx);
    using Y = decltype(ty);
    using Z = decltype(tz);
    using S = Accum<Z>;
    CHECK(k.in[0].dtype() == DTypeOf<S>::value && k.in[2].dtype() == DTypeOf<S>::value) << "mix: factors are exact";
    const X* x = k.in[1].as<X>();
    const Y* y = k.in[3].as<Y>();
    Z* z = k.out[0].as<Z>();
    for_image_tiles(*k.pool, k.in[1].shape()[0], per_image(k.in[1].shape()),
                    [&](int64_t i, int64_t begin, int64_t end) {
                      const S a = k.in[0].as<S>()[i], b = k.in[2].as<S>()[i];
                      for (int64_t e = begin; e < end; ++e)
                        z[e] = Z(std::fma(a, static_cast<S>(x[e]), b * static_cast<S>(y[e])));
                    });
  });
}

constexpr int64_t kCombineBlock = 1024;

// The sum is built in fp64 a block at a time, in the order of the terms.
void combine_block(const KernelArgs& k, const double* factors, int64_t begin, int64_t end) {
  double sum[kCombineBlock];
  for (size_t j = 0; j + 1 < k.in.size(); ++j)
    visit_real(k.in[j].dtype(), [&](auto tx) {
      using X = decltype(tx);
      const X* x = k.in[j].as<X>();
      const double c = factors[j];
      for (int64_t i = begin; i < end; ++i)
        sum[i - begin] =
            j == 0 ? c * static_cast<Accum<X>>(x[i]) : std::fma(c, static_cast<Accum<X>>(x[i]), sum[i - begin]);
    });
  visit_real(k.out[0].dtype(), [&](auto ty) {
    using Y = decltype(ty);
    for (int64_t i = begin; i < end; ++i) k.out[0].as<Y>()[i] = Y(static_cast<Accum<Y>>(sum[i - begin]));
  });
}

void combine_cpu(const KernelArgs& k) {
  const double* factors = k.in.back().as<double>();
  const int64_t n = k.out[0].numel();
  k.pool->run(tile_count(n, kPointwiseTile), [&](int64_t t, int) {
    const Tile tile = tile_at(n, kPointwiseTile, t);
    for (int64_t begin = tile.begin; begin < tile.end; begin += kCombineBlock)
      combine_block(k, factors, begin, std::min(begin + kCombineBlock, tile.end));
  });
}

std::vector<Type> scale_shape(const NodeTypes& n) {
  require_per_image(n.in[0].shape, n.in[1].shape);
  return {n.real_of(n.in[1].shape)};
}

std::vector<Type> mix_shape(const NodeTypes& n) {
  require_per_image(n.in[0].shape, n.in[1].shape);
  require_per_image(n.in[2].shape, n.in[3].shape);
  REQUIRE(n.in[1].shape == n.in[3].shape,
          "mixes " + n.in[1].shape.str() + " with " + n.in[3].shape.str() + ": they must have one shape");
  return {n.real_of(n.in[1].shape)};
}

std::vector<Type> combine_shape(const NodeTypes& n) {
  const auto terms = static_cast<int64_t>(n.in.size()) - 1;
  REQUIRE(n.in.back() == (Type{DType::kF64, {terms}}),
          "the factors of " + std::to_string(terms) + " terms are " + n.in.back().str() + ", expected one fp64 each");
  for (int64_t i = 1; i < terms; ++i)
    REQUIRE(n.in[i].shape == n.in[0].shape,
            "combines " + n.in[0].shape.str() + " with " + n.in[i].shape.str() + ": they must have one shape");
  return {n.in[0]};
}

}  // namespace

const OpCard scale_card = {
    .name = "scale",
    .shape = scale_shape,
    .grad =
        [](const GradArgs& g) {
          return std::vector{Value{}, scale(g.in[0], g.dout[0])};
        },
    .cost = pointwise_cost<1>,
    .in_roles = {Role::kExact, Role::kAny},
    .out_roles = {Role::kExact},
    .cpu = scale_cpu,
    .cuda = scale_cuda,
    .alias =
        [](const NodeTypes&) {
          return std::vector{Alias{Alias::kReuse, 1, 0}};
        },
    .samples =
        [] {
          return Samples{{.in = {{DType::kF32, {3}}, {DType::kF32, {3, 4, 5}}},
                          .build = [](auto& v) { return std::vector{scale(v[0], v[1])}; },
                          .no_gradient = {0}}};
        },
};

const OpCard mix_card = {
    .name = "mix",
    .shape = mix_shape,
    .grad =
        [](const GradArgs& g) {
          return std::vector{Value{}, scale(g.in[0], g.dout[0]), Value{}, scale(g.in[2], g.dout[0])};
        },
    .cost = pointwise_cost<3>,
    .in_roles = {Role::kExact, Role::kAny, Role::kExact, Role::kAny},
    .out_roles = {Role::kExact},
    .cpu = mix_cpu,
    .cuda = mix_cuda,
    .alias =
        [](const NodeTypes&) {
          return std::vector{Alias{Alias::kReuse, 1, 0}, Alias{Alias::kReuse, 3, 0}};
        },
    .samples =
        [] {
          const Type factor = {DType::kF32, {3}}, image = {DType::kF32, {3, 4, 5}};
          return Samples{{.in = {factor, image, factor, image},
                          .build = [](auto& v) { return std::vector{mix(v[0], v[1], v[2], v[3])}; },
                          .no_gradient = {0, 2}}};
        },
};

const OpCard combine_card = {
    .name = "combine",  // the factors are the last input, so that the output takes the type of x[0]
    .shape = combine_shape,
    .cost =
        [](const NodeTypes& n) {
          return Cost{.flops = 2.0 * static_cast<double>(n.in.size() - 1) * static_cast<double>(n.out[0].shape.numel()),
                      .bytes = streamed(n)};
        },
    .in_roles = {Role::kAny},
    .out_roles = {Role::kAny},
    .cpu = combine_cpu,
    .alias =
        [](const NodeTypes&) {
          return std::vector{Alias{Alias::kReuse, 0, 0}};
        },
    .samples =
        [] {
          const auto build = [](const std::vector<Value>& v) { return std::vector{combine(v[0], {v[1], v[2]})}; };
          const Type image = {DType::kF32, {3, 4, 100}};
          return Samples{{.in = {{DType::kF64, {2}}, image, image}, .build = build},
                         {.in = {{DType::kF64, {2}}, {DType::kF64, image.shape}, image}, .build = build}};
        },
};

Value scale(Value a, Value x) { return x.graph->add1(scale_card, {a, x}); }
Value mix(Value a, Value x, Value b, Value y) { return x.graph->add1(mix_card, {a, x, b, y}); }

Value combine(Value factors, const std::vector<Value>& x) {
  REQUIRE(!x.empty(), "combine: needs at least one term");
  std::vector<Value> in = x;
  in.push_back(factors);
  return factors.graph->add1(combine_card, in);
}

}  // namespace shardit

// What a sampler does to a network's output before a step.
//   guide: classifier-free guidance (Ho & Salimans 2021) on the first channels: u + s (c - u)
//   learned_noise: exp(log_var / 2) z,  log_var = lower + (v + 1)/2 (upper - lower); fp64 inside
#include "ops/guidance.h"

#include "ops/images.h"
#include "ops/ops.h"

namespace shardit {

DEVICE_KERNEL(guide_cuda);
DEVICE_KERNEL(learned_noise_cuda);

namespace {

// One pixel or token after another: the guided channels come first, the others are the conditional half's.
template <typename X, typename Y>
void guide_row(const X* c, const X* u, Accum<Y> s, int64_t guided, int64_t width, Y* y) {
  using A = Accum<Y>;
  for (int64_t i = 0; i < guided; ++i)
    y[i] = Y(std::fma(s, static_cast<A>(c[i]) - static_cast<A>(u[i]), static_cast<A>(u[i])));
  for (int64_t i = guided; i < width; ++i) y[i] = Y(static_cast<A>(c[i]));
}

void guide_cpu(const KernelArgs& k) {
  const Shape& shape = k.out[0].shape();
  const int64_t guided = k.attr<GuideAttrs>().channels, width = shape[-1], rows = per_image(shape) / width;
  visit_real(k.in[0].dtype(), k.out[0].dtype(), [&](auto tx, auto ty) {
    using X = decltype(tx);
    using Y = decltype(ty);
    CHECK(k.in[1].dtype() == DTypeOf<Accum<Y>>::value) << "guide: scales are exact";
    const X *conditional = k.in[0].as<X>(), *unconditional = conditional + k.out[0].numel();
    k.pool->run(shape[0], [&](int64_t image, int) {
      const Accum<Y> s = k.in[1].as<Accum<Y>>()[image];
      for (int64_t r = image * rows; r < (image + 1) * rows; ++r)
        guide_row(conditional + r * width, unconditional + r * width, s, guided, width, k.out[0].as<Y>() + r * width);
    });
  });
}

std::vector<Type> guide_shape(const NodeTypes& n) {
  const Shape& both = n.in[0].shape;
  const int64_t channels = n.attr<GuideAttrs>().channels;
  REQUIRE(both.rank() >= 2 && both[0] % 2 == 0,
          "the network's output is " + both.str() + ", expected the conditional and the unconditional half of a batch");
  REQUIRE(channels >= 0 && channels <= both[-1],
          "guides " + std::to_string(channels) + " channels of " + std::to_string(both[-1]));
  const Shape out = both.with(0, both[0] / 2);
  require_per_image(n.in[1].shape, out);
  return {n.real_of(out)};
}

// bounds: lower and upper log variance, and whether noise is added at all (not after a sampler's last step).
void learned_noise_cpu(const KernelArgs& k) {
  const double* bounds = k.in[2].as<double>();
  const double lower = bounds[0], range = bounds[1] - bounds[0];
  const bool on = bounds[2] != 0;
  const int64_t n = k.out[0].numel();
  visit_real(k.in[0].dtype(), k.in[1].dtype(), k.out[0].dtype(), [&](auto tv, auto tz, auto ty) {
    using V = decltype(tv);
    using Z = decltype(tz);
    using Y = decltype(ty);
    k.pool->run(tile_count(n, kPointwiseTile), [&](int64_t t, int) {
      const Tile tile = tile_at(n, kPointwiseTile, t);
      for (int64_t i = tile.begin; i < tile.end; ++i) {
        const double v = static_cast<Accum<V>>(k.in[0].as<V>()[i]), z = static_cast<Accum<Z>>(k.in[1].as<Z>()[i]);
        const double noise = on ? std::exp(0.5 * (lower + 0.5 * (v + 1) * range)) * z : 0;
        k.out[0].as<Y>()[i] = Y(static_cast<Accum<Y>>(noise));
      }
    });
  });
}

}  // namespace

const OpCard guide_card = {
    .name = "guide",
    .shape = guide_shape,
    .cost = pointwise_cost<3>,
    .in_roles = {Role::kAny, Role::kExact},
    .out_roles = {Role::kExact},
    .cpu = guide_cpu,
    .cuda = guide_cuda,
    .samples =
        [] {
          return Samples{{.in = {{DType::kF32, {6, 2, 5, 8}}, {DType::kF32, {3}}},
                          .build = [](auto& v) { return std::vector{guide(v[0], v[1], 3)}; }}};
        },
};

const OpCard learned_noise_card = {
    .name = "learned_noise",
    .shape =
        [](const NodeTypes& n) {
          REQUIRE(n.in[0].shape == n.in[1].shape, "v is " + n.in[0].shape.str() + ", the noise " + n.in[1].shape.str());
          REQUIRE(n.in[2] == (Type{DType::kF64, {3}}), "the bounds are " + n.in[2].str() + ", expected fp64 [3]");
          return std::vector{n.real_of(n.in[0].shape)};
        },
    .cost = pointwise_cost<20>,
    .in_roles = {Role::kAny, Role::kExact, Role::kFixed},
    .out_roles = {Role::kExact},
    .cpu = learned_noise_cpu,
    .cuda = learned_noise_cuda,
    .alias =
        [](const NodeTypes&) {
          return std::vector{Alias{Alias::kReuse, 1, 0}};
        },
    .samples =
        [] {
          const Type image = {DType::kF32, {2, 5, 8}};
          return Samples{{.in = {image, image, {DType::kF64, {3}}},
                          .build = [](auto& v) { return std::vector{learned_noise(v[0], v[1], v[2])}; }}};
        },
};

Value guide(Value out_both, Value scale, int64_t channels) {
  auto attrs = std::make_shared<GuideAttrs>();
  attrs->channels = channels;
  return out_both.graph->add1(guide_card, {out_both, scale}, attrs);
}

Value learned_noise(Value v, Value z, Value bounds) { return v.graph->add1(learned_noise_card, {v, z, bounds}); }

}  // namespace shardit

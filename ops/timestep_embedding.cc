// [cos(t f_i), sin(t f_i)], f_i = 10000^(-i/128), i < 128 (Ho et al. 2020).
#include <cmath>

#include "core/error.h"
#include "ops/kernel.h"
#include "ops/ops.h"

namespace shardit {
namespace {

constexpr int64_t kFrequencies = 128;

// e^x in fp32 with the last bits of PyTorch on the CPU (the expf of the Sleef library, below 1 ulp): 2^k e^s, log 2 in
// two parts, a minimax polynomial in fused multiply-adds.
float exp_as_reference(float x) {
  const float k = std::nearbyint(x * 1.44269504088896341f);
  float s = std::fma(k, -0.693145751953125f, x);
  s = std::fma(k, -1.428606765330187045e-06f, s);
  float p = 0.000198527617612853646f;
  for (float c : {0.00139304355252534151f, 0.00833336077630519867f, 0.0416664853692054749f, 0.16666667163372040f, 0.5f})
    p = std::fma(p, s, c);
  return std::ldexp(1.0f + std::fma(s * s, p, s), static_cast<int>(k));
}

// The released model's frequencies and angles to the last bit: both are rounded to fp32, and at t near 1000 one bit of
// a frequency is 6e-5 of an angle, which weights trained with it must see again.
float frequency(int64_t i) {
  return exp_as_reference(static_cast<float>(-std::log(10000.0)) * static_cast<float>(i) /
                          static_cast<float>(kFrequencies));
}

template <typename T, typename Y> void embed(const KernelArgs& k) {
  k.pool->run(k.in[0].numel(), [&](int64_t b, int) {
    const float t = static_cast<float>(k.in[0].as<T>()[b]);
    Y* y = k.out[0].as<Y>() + b * 2 * kFrequencies;
    for (int64_t i = 0; i < kFrequencies; ++i) {
      const double angle = static_cast<double>(t * frequency(i));
      y[i] = Y(static_cast<Accum<Y>>(std::cos(angle)));
      y[kFrequencies + i] = Y(static_cast<Accum<Y>>(std::sin(angle)));
    }
  });
}

void timestep_embedding_cpu(const KernelArgs& k) {
  visit_real(k.out[0].dtype(), [&]<typename Y>(Y) {
    switch (k.in[0].dtype()) {
      case DType::kI64:
        return embed<int64_t, Y>(k);
      case DType::kF32:
        return embed<float, Y>(k);
      case DType::kF64:
        return embed<double, Y>(k);
      default:
        LOG(FATAL) << "timestep_embedding: no kernel for time steps of type " << name_of(k.in[0].dtype());
    }
  });
}

}  // namespace

const OpCard timestep_embedding_card = {
    .name = "timestep_embedding",
    .shape =
        [](const NodeTypes& n) {
          const Shape& t = n.in_shape(0);
          REQUIRE(t.rank() == 1, "timestep_embedding: t is " + t.str() + ": expected one number per image");
          return std::vector{n.real_of({t[0], 2 * kFrequencies})};
        },
    .cost =
        [](const NodeTypes& n) {
          return Cost{.flops = 60.0 * static_cast<double>(n.out[0].shape.numel()), .bytes = streamed(n)};
        },
    .in_roles = {Role::kExact},
    .out_roles = {Role::kExact},
    .cpu = timestep_embedding_cpu,
    .samples =
        [] {
          const auto build = [](const std::vector<Value>& v) { return std::vector{timestep_embedding(v[0])}; };
          return Samples{
              {.in = {{DType::kI64, {5}}}, .build = build, .integer = [](int, int64_t i) { return i * 249; }},
              {.in = {{DType::kF32, {3}}}, .build = build}};
        },
};

Value timestep_embedding(Value t) { return t.graph->add1(timestep_embedding_card, {t}); }

}  // namespace shardit

// [cos(t f_i), sin(t f_i)], f_i = 10000^(-i/128), i < 128 (Ho et al. 2020).
#include "ops/timestep_embedding.h"

#include <cmath>

#include "core/error.h"
#include "ops/kernel.h"
#include "ops/ops.h"

namespace shardit {

DEVICE_KERNEL(timestep_embedding_cuda);

namespace {

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
    .cuda = timestep_embedding_cuda,
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

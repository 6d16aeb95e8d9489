// The norm of all gradients, the same bits for any sharding: sums of squares that are exact in any order.
//
// A chunk's sum of squares is fp64 in a fixed order (each square of an fp32 number is exact). It becomes a fixed-point
// number of three 64-bit limbs in units of 2^-96, 2^-48 and 1, where the lower two are kept below 2^48:
//   - what lies below 2^-96 is rounded to nearest, per chunk, so the rounding does not depend on the order either;
//   - a chunk sum of 2^38 or more (a chunk norm of 524288) or one that is not finite is left out and counted in the
//     fourth number, the flag: gradient_norm then says "not finite" and nothing is updated;
//   - limbs of different units or ranks are added as int64 and carried, which gives one set of limbs whatever the
//     order; the highest takes 2^24 chunks.
#include "core/error.h"
#include "ops/kernel.h"
#include "ops/limbs.h"
#include "ops/ops.h"

namespace shardit {

DEVICE_KERNEL(square_sum_cuda);
DEVICE_KERNEL(gradient_norm_cuda);

namespace {

const Type kLimbType = {DType::kI64, {kLimbs + 1}};

// kLanes interleaved sums, then the lanes in halves.
template <typename T> double chunk_square_sum(const T* x) {
  constexpr int64_t kLanes = 16;  // four 256-bit or two 512-bit sums: more spill
  double lanes[kLanes] = {};
  for (int64_t i = 0; i < kChunk; i += kLanes)
    for (int64_t l = 0; l < kLanes; ++l) {
      const double e = static_cast<Accum<T>>(x[i + l]);
      lanes[l] += e * e;
    }
  for (int64_t half = kLanes / 2; half > 0; half /= 2)
    for (int64_t l = 0; l < half; ++l) lanes[l] += lanes[l + half];
  return lanes[0];
}

int64_t square_sum_workspace(const NodeTypes& n) {
  return tile_count(n.in[0].shape.numel() / kChunk, kTileChunks) * static_cast<int64_t>(sizeof(Limbs));
}

void square_sum_cpu(const KernelArgs& k) {
  const int64_t chunks = k.in[0].numel() / kChunk, tiles = tile_count(chunks, kTileChunks);
  Limbs* partial = reinterpret_cast<Limbs*>(k.workspace);
  visit_real(k.in[0].dtype(), [&](auto t) {
    using T = decltype(t);
    k.pool->run(tiles, [&](int64_t i, int) {
      const Tile tile = tile_at(chunks, kTileChunks, i);
      Limbs sum;
      for (int64_t c = tile.begin; c < tile.end; ++c) sum.add(chunk_square_sum(k.in[0].as<T>() + c * kChunk));
      partial[i] = sum;
    });
  });
  Limbs sum;
  for (int64_t i = 0; i < tiles; ++i) sum.add(partial[i].at);
  std::copy_n(sum.at, kLimbs + 1, k.out[0].as<int64_t>());
}

double norm_of(const Limbs& limbs) { return limbs.finite() ? std::sqrt(limbs.value()) : std::nan(""); }

void gradient_norm_cpu(const KernelArgs& k) {
  const GradientNormAttrs& a = k.attr<GradientNormAttrs>();
  const auto* limbs = k.in[0].as<int64_t>();
  const int64_t shards = k.in[0].numel() / (kLimbs + 1) / a.units;
  Limbs all;
  for (int64_t u = 0; u < a.units; ++u) {
    Limbs unit;
    for (int64_t s = 0; s < shards; ++s) unit.add(limbs + (s * a.units + u) * (kLimbs + 1));
    k.out[1].as<double>()[u] = norm_of(unit);
    all.add(unit.at);
  }
  const double norm = norm_of(all);
  double* out = k.out[0].as<double>();
  out[0] = norm;
  out[1] = a.clip > 0 && norm > a.clip ? a.clip / norm : 1.0;
  out[2] = all.finite();
}

std::vector<Type> gradient_norm_shape(const NodeTypes& n) {
  const int64_t units = n.attr<GradientNormAttrs>().units;
  const Type& limbs = n.in[0];
  REQUIRE(units > 0, "needs the sums of at least one unit");
  REQUIRE(limbs.dtype == DType::kI64 && limbs.shape.rank() == 1 && limbs.shape[0] > 0 &&
              limbs.shape[0] % (units * (kLimbs + 1)) == 0,
          "expects the results of square_sum of " + std::to_string(units) + " units, once or several times; " +
              limbs.str() + " is given");
  return {{DType::kF64, {3}}, {DType::kF64, {units}}};
}

std::vector<Value> sample_norm(const std::vector<Value>& units, double clip) {
  std::vector<Value> limbs;
  for (const Value& unit : units) limbs.push_back(square_sum(unit));
  return gradient_norm(concat_last(limbs), static_cast<int64_t>(units.size()), clip);
}

}  // namespace

const OpCard square_sum_card = {
    .name = "square_sum",
    .shape =
        [](const NodeTypes& n) {
          REQUIRE(n.in[0].shape.rank() == 1 && n.in[0].shape[0] % kChunk == 0, "sums flat buffers of whole chunks of " +
                                                                                   std::to_string(kChunk) + ", " +
                                                                                   n.in[0].shape.str() + " is given");
          return std::vector{kLimbType};
        },
    .cost =
        [](const NodeTypes& n) {
          return Cost{.flops = 2.0 * static_cast<double>(n.in[0].shape.numel()), .bytes = streamed(n)};
        },
    .in_roles = {Role::kExact},
    .out_roles = {Role::kFixed},
    .cpu = square_sum_cpu,
    .cuda = square_sum_cuda,
    .workspace = [](const NodeTypes& n, int) { return square_sum_workspace(n); },
    .cuda_workspace = square_sum_workspace,
    .samples =
        [] {  // read through the norm: the lowest limbs of fp32 and fp64 inputs have nothing in common
          return Samples{
              {.in = {{DType::kF32, {130 * kChunk}}}, .build = [](auto& v) { return sample_norm({v[0]}, 0); }}};
        },
};

const OpCard gradient_norm_card = {
    .name = "gradient_norm",
    .shape = gradient_norm_shape,
    .cost = [](const NodeTypes& n) { return Cost{.bytes = streamed(n)}; },
    .in_roles = {Role::kFixed},
    .out_roles = {Role::kFixed},
    .cpu = gradient_norm_cpu,
    .cuda = gradient_norm_cuda,
    .samples =
        [] {
          const auto twice = [](const std::vector<Value>& v) {  // as two shards give it
            const Value limbs = square_sum(v[0]);
            return gradient_norm(concat_last({limbs, limbs}), 1, 0);
          };
          return Samples{{.in = {{DType::kF32, {kChunk}}, {DType::kF32, {2 * kChunk}}},
                          .build =
                              [](auto& v) {
                                return sample_norm({v[0], v[1]}, 0.5);
                              }},
                         {.in = {{DType::kF32, {kChunk}}}, .build = twice}};
        },
};

Value square_sum(Value flat) { return flat.graph->add1(square_sum_card, {flat}); }

std::vector<Value> gradient_norm(Value limbs, int64_t units, double clip) {
  auto attrs = std::make_shared<GradientNormAttrs>();
  attrs->units = units;
  attrs->clip = clip;
  return limbs.graph->add(gradient_norm_card, {limbs}, attrs);
}

}  // namespace shardit

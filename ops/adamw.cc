// AdamW (Loshchilov & Hutter 2019; PyTorch's order of operations) and every EMA profile, in one pass over memory:
//   g = clip * gradient
//   m = beta1 m + (1 - beta1) g,   v = beta2 v + (1 - beta2) g^2
//   p = (1 - lr weight_decay) p - lr / bias1 * m / (sqrt(v / bias2) + eps)
//   e = e + (1 - decay) (p - e)    for each EMA
// Bound by bytes: each of p, m, v, e is read once and written once, the gradient read once. A tile is worked chunk by
// chunk, so that the EMAs and the compute copy find the new p in the first-level cache. Where the norm is not finite
// nothing changes; the compute copy is then the weight as it stands.
#include "ops/adamw.h"

#include "core/error.h"
#include "core/layout.h"
#include "ops/kernel.h"
#include "ops/ops.h"
#include "ops/text.h"

namespace shardit {

DEVICE_KERNEL(adamw_cuda);
DEVICE_KERNEL(adamw_copy_cuda);

namespace {

using namespace adamw_operands;

template <typename T> struct Coefficients {
  T clip, beta1, rest1, beta2, rest2, shrink, step, root_bias2, eps;

  Coefficients(const AdamWAttrs& a, const double* norm, const double* numbers)
      : clip(T(norm[1])),
        beta1(T(a.beta1)),
        rest1(T(1 - a.beta1)),
        beta2(T(a.beta2)),
        rest2(T(1 - a.beta2)),
        shrink(T(1 - numbers[kLr] * a.weight_decay)),
        step(T(numbers[kLr] / numbers[kBias1])),
        root_bias2(T(1 / std::sqrt(numbers[kBias2]))),
        eps(T(a.eps)) {}
};

template <typename T>
void step(const Coefficients<T>& c, int64_t n, const T* __restrict gradient, T* __restrict p, T* __restrict m,
          T* __restrict v) {
  for (int64_t i = 0; i < n; ++i) {
    const T g = c.clip * gradient[i];
    m[i] = std::fma(c.beta1, m[i], c.rest1 * g);
    v[i] = std::fma(c.beta2, v[i], c.rest2 * (g * g));
    const T scale = std::fma(std::sqrt(v[i]), c.root_bias2, c.eps);
    p[i] = std::fma(-c.step, m[i] / scale, c.shrink * p[i]);
  }
}

template <typename T> void average(T rest, int64_t n, const T* __restrict p, T* __restrict e) {
  for (int64_t i = 0; i < n; ++i) e[i] = std::fma(rest, p[i] - e[i], e[i]);
}

template <typename T> void write_copy(const T* p, const TensorRef& copy, int64_t begin, int64_t n) {
  visit_real(copy.dtype(), [&](auto t) {
    using C = decltype(t);
    C* to = copy.as<C>() + begin;
    for (int64_t i = 0; i < n; ++i) to[i] = C(static_cast<Accum<C>>(p[i]));
  });
}

template <typename T> void update(const KernelArgs& k, bool finite, bool with_copy) {
  const AdamWAttrs& a = k.attr<AdamWAttrs>();
  const double* numbers = k.in[kNumbers].as<double>();
  const Coefficients<T> c(a, k.in[kNorm].as<double>(), numbers);
  const auto at = [&](int i) {
    CHECK(k.in[i].dtype() == DTypeOf<T>::value) << "adamw: input " << i << " is " << name_of(k.in[i].dtype());
    return k.in[i].as<T>();
  };
  const int64_t elements = k.in[kMaster].numel();
  k.pool->run(tile_count(elements, kPointwiseTile), [&](int64_t t, int) {
    const Tile tile = tile_at(elements, kPointwiseTile, t);
    for (int64_t begin = tile.begin; begin < tile.end; begin += kChunk) {
      const int64_t n = std::min(kChunk, tile.end - begin);
      T* p = at(kMaster) + begin;
      if (finite) {
        step<T>(c, n, at(kGradient) + begin, p, at(kM) + begin, at(kV) + begin);
        for (int e = 0; e < a.emas; ++e) average<T>(T(1 - numbers[kFirstDecay + e]), n, p, at(kFirstEma + e) + begin);
      }
      if (with_copy) write_copy<T>(p, k.out[0], begin, n);
    }
  });
}

// `with_copy`: the node's first output is the compute copy; the updated tensors follow in the order of the inputs.
template <bool with_copy> void adamw_cpu(const KernelArgs& k) {
  const bool finite = k.in[kNorm].as<double>()[2] != 0;
  if (!finite && !with_copy) return;
  if (k.in[kMaster].dtype() == DType::kF64)
    update<double>(k, finite, with_copy);
  else
    update<float>(k, finite, with_copy);
}

template <bool with_copy> std::vector<Type> adamw_shape(const NodeTypes& n) {
  const int emas = n.attr<AdamWAttrs>().emas;
  for (int i : {kM, kV, kGradient})
    REQUIRE(n.in[i].shape == n.in[kMaster].shape,
            "the weights are " + n.in[kMaster].shape.str() + ", a moment or the gradient " + n.in[i].shape.str());
  REQUIRE(n.in[kNorm] == (Type{DType::kF64, {3}}),
          "expects a result of gradient_norm, " + n.in[kNorm].str() + " is given");
  REQUIRE(n.in[kNumbers] == (Type{DType::kF64, {kFirstDecay + emas}}), "the step's numbers are " +
                                                                           n.in[kNumbers].str() + ", expected fp64 [" +
                                                                           std::to_string(kFirstDecay + emas) + "]");
  std::vector<Type> out;
  if (with_copy) out.push_back(n.in[kMaster]);
  for (int i : {kMaster, kM, kV}) out.push_back(n.in[i]);
  for (int e = 0; e < emas; ++e) {
    REQUIRE(n.in[kFirstEma + e].shape == n.in[kMaster].shape,
            "the weights are " + n.in[kMaster].shape.str() + ", an EMA " + n.in[kFirstEma + e].shape.str());
    out.push_back(n.in[kFirstEma + e]);
  }
  return out;
}

template <bool with_copy> std::vector<Alias> adamw_updates(const NodeTypes& n) {
  std::vector<Alias> updates;
  int out = with_copy ? 1 : 0;
  for (int i : {kMaster, kM, kV}) updates.push_back({Alias::kUpdate, i, out++});
  for (int i = kFirstEma; i < static_cast<int>(n.in.size()); ++i) updates.push_back({Alias::kUpdate, i, out++});
  return updates;
}

Cost adamw_cost(const NodeTypes& n) {
  return {.flops = (12.0 + 3.0 * n.attr<AdamWAttrs>().emas) * static_cast<double>(n.in[kMaster].shape.numel()),
          .bytes = streamed(n)};
}

template <bool with_copy> Sample adamw_sample(int emas) {
  const Type flat = {DType::kF32, {3 * kChunk}};
  std::vector<Type> in = {flat, flat, flat, flat, {DType::kF64, {3}}, {DType::kF64, {kFirstDecay + emas}}};
  in.insert(in.end(), static_cast<size_t>(emas), flat);
  return {.in = in,
          .build =
              [emas](const std::vector<Value>& v) {
                AdamWAttrs a;
                a.weight_decay = 0.1;
                a.emas = emas;
                const std::vector<Value> ema(v.begin() + kFirstEma, v.end());
                return adamw({v[kMaster], v[kM], v[kV], ema}, v[kGradient], v[kNorm], v[kNumbers], a, with_copy);
              },
          .positive = {kV, kNorm, kNumbers}};
}

template <bool with_copy> Samples adamw_samples() {
  return {adamw_sample<with_copy>(0), adamw_sample<with_copy>(1), adamw_sample<with_copy>(2),
          adamw_sample<with_copy>(4)};
}

template <bool with_copy> OpCard make_card(const char* name, std::vector<Role> out_roles) {
  return {
      .name = name,
      .shape = adamw_shape<with_copy>,
      .cost = adamw_cost,
      .in_roles = {Role::kExact, Role::kExact, Role::kExact, Role::kExact, Role::kFixed, Role::kFixed, Role::kExact},
      .out_roles = std::move(out_roles),
      .cpu = adamw_cpu<with_copy>,
      .cuda = with_copy ? adamw_copy_cuda : adamw_cuda,
      .alias = adamw_updates<with_copy>,
      .samples = adamw_samples<with_copy>};
}

}  // namespace

const OpCard adamw_card = make_card<false>("adamw", {Role::kExact});
const OpCard adamw_copy_card = make_card<true>("adamw_copy", {Role::kCompute, Role::kExact});

std::string AdamWAttrs::text() const {
  return text_of(beta1) + ", " + text_of(beta2) + ", " + text_of(eps) + ", " + text_of(weight_decay) + ", " +
         std::to_string(emas) + " EMAs";
}

std::vector<Value> adamw(const AdamWState& state, Value gradient, Value norm, Value numbers, const AdamWAttrs& attrs,
                         bool compute_copy) {
  REQUIRE(
      static_cast<int>(state.ema.size()) == attrs.emas,
      "adamw: " + std::to_string(attrs.emas) + " EMAs are announced, " + std::to_string(state.ema.size()) + " given");
  std::vector<Value> in = {state.master, state.m, state.v, gradient, norm, numbers};
  in.insert(in.end(), state.ema.begin(), state.ema.end());
  auto shared = std::make_shared<AdamWAttrs>(attrs);
  std::vector<Value> out = state.master.graph->add(compute_copy ? adamw_copy_card : adamw_card, in, shared);
  if (compute_copy) std::rotate(out.begin(), out.begin() + 1, out.end());  // callers find it last
  return out;
}

}  // namespace shardit

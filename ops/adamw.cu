// AdamW, every EMA and the compute copy in one pass (formulas in adamw.cc). Bound by bytes: each of p, m, v, e is read
// and written once, the gradient read once. Bit-equal to the CPU: the same operations in the same order.
#include "ops/adamw.h"

#include "ops/device.h"
#include "ops/ops.h"

namespace shardit {
namespace {

using namespace adamw_operands;

constexpr int kThreads = 256, kPacks = 2, V = 4;  // packs of a thread; units are whole chunks, so there are no tails
constexpr int kMostEmas = 16, kAnyNumber = -1;

struct Settings {
  double beta1, beta2, eps, weight_decay;
};

struct Averages {
  float* at[kMostEmas];
  int count;
};

// The step's numbers, computed in fp64 and rounded once, as on the CPU; by one thread of a block.
struct Coefficients {
  bool finite;
  float clip, beta1, rest1, beta2, rest2, shrink, step, root_bias2, eps, rest[kMostEmas];

  __device__ void set(const Settings& s, const double* norm, const double* numbers, int emas) {
    finite = norm[2] != 0;
    clip = static_cast<float>(norm[1]);
    beta1 = static_cast<float>(s.beta1);
    rest1 = static_cast<float>(1 - s.beta1);
    beta2 = static_cast<float>(s.beta2);
    rest2 = static_cast<float>(1 - s.beta2);
    shrink = static_cast<float>(1 - numbers[kLr] * s.weight_decay);
    step = static_cast<float>(numbers[kLr] / numbers[kBias1]);
    root_bias2 = static_cast<float>(1 / sqrt(numbers[kBias2]));
    eps = static_cast<float>(s.eps);
    for (int e = 0; e < emas; ++e) rest[e] = static_cast<float>(1 - numbers[kFirstDecay + e]);
  }
};

using F4 = float[V];

__device__ __forceinline__ void read(const float* from, int64_t pack, F4& x) {
  const device::Pack<float, V> loaded = device::load<V>(from, pack);
#pragma unroll
  for (int j = 0; j < V; ++j) x[j] = loaded[j];
}

__device__ __forceinline__ void step(const Coefficients& c, float gradient, float& p, float& m, float& v) {
  const float g = c.clip * gradient;
  m = fmaf(c.beta1, m, c.rest1 * g);
  v = fmaf(c.beta2, v, c.rest2 * (g * g));
  const float scale = fmaf(sqrtf(v), c.root_bias2, c.eps);
  p = fmaf(-c.step, m / scale, c.shrink * p);
}

// One pack of the unit; kEmas averages are loaded ahead, or any number one by one. `copy` is null where none is wanted.
template <int kEmas, typename C>
__device__ __forceinline__ void update(const Coefficients& c, int64_t pack, float* p, float* m, float* v,
                                       const float* gradient, const Averages& emas, C* copy) {
  constexpr int kAhead = kEmas > 0 ? kEmas : 1;
  F4 ps, ms, vs, gs, es[kAhead];
  read(p, pack, ps);
  if (c.finite) {
    read(m, pack, ms);
    read(v, pack, vs);
    read(gradient, pack, gs);
#pragma unroll
    for (int e = 0; e < kEmas; ++e) read(emas.at[e], pack, es[e]);
#pragma unroll
    for (int j = 0; j < V; ++j) step(c, gs[j], ps[j], ms[j], vs[j]);
    device::store<V>(p, pack, ps);
    device::store<V>(m, pack, ms);
    device::store<V>(v, pack, vs);
    const auto average = [&](int e, F4& mean) {
#pragma unroll
      for (int j = 0; j < V; ++j) mean[j] = fmaf(c.rest[e], ps[j] - mean[j], mean[j]);
      device::store<V>(emas.at[e], pack, mean);
    };
#pragma unroll
    for (int e = 0; e < kEmas; ++e) average(e, es[e]);
    if constexpr (kEmas == kAnyNumber)
      for (int e = 0; e < emas.count; ++e) {
        read(emas.at[e], pack, es[0]);
        average(e, es[0]);
      }
  }
  if (copy) device::store<V>(copy, pack, ps);
}

template <int kEmas, typename C>
__global__ void __launch_bounds__(kThreads)
    adamw_kernel(float* p, float* m, float* v, const float* gradient, const double* norm, const double* numbers,
                 Averages emas, C* copy, Settings settings, int64_t packs) {
  SHARDIT_SHARED(Coefficients, c, );
  if (threadIdx.x == 0) c.set(settings, norm, numbers, emas.count);
  __syncthreads();
#pragma unroll
  for (int k = 0; k < kPacks; ++k) {
    const int64_t pack = int64_t{blockIdx.x} * (kThreads * kPacks) + k * kThreads + threadIdx.x;
    if (pack < packs) update<kEmas>(c, pack, p, m, v, gradient, emas, copy);
  }
}

template <typename C> void update_unit(const KernelArgs& k, void* stream, C* copy) {
  const AdamWAttrs& a = k.attr<AdamWAttrs>();
  CHECK_LE(a.emas, kMostEmas) << "adamw: the device kernel has room for " << kMostEmas << " EMAs";
  Averages emas{.count = a.emas};
  for (int e = 0; e < a.emas; ++e) emas.at[e] = k.in[kFirstEma + e].as<float>();
  const int64_t packs = k.in[kMaster].numel() / V;
  const auto run = [&](auto number) {
    launch(adamw_kernel<number, C>, static_cast<unsigned>(device::blocks_for(packs, kThreads * kPacks)), kThreads, 0,
           stream, k.in[kMaster].as<float>(), k.in[kM].as<float>(), k.in[kV].as<float>(), k.in[kGradient].as<float>(),
           k.in[kNorm].as<double>(), k.in[kNumbers].as<double>(), emas, copy,
           Settings{a.beta1, a.beta2, a.eps, a.weight_decay}, packs);
  };
  if (a.emas == 0) return run(std::integral_constant<int, 0>{});
  if (a.emas == 1) return run(std::integral_constant<int, 1>{});
  if (a.emas == 2) return run(std::integral_constant<int, 2>{});
  run(std::integral_constant<int, kAnyNumber>{});
}

}  // namespace

void adamw_cuda(const KernelArgs& k, void* stream) { update_unit<float>(k, stream, nullptr); }

void adamw_copy_cuda(const KernelArgs& k, void* stream) {
  device::visit(k.out[0].dtype(), [&]<typename C>(C) { update_unit<C>(k, stream, k.out[0].as<C>()); });
}

}  // namespace shardit

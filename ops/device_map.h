// Pointwise device kernels: y[i] = f(a[i], b[i], …) in fp32, where an operand is a tensor, a tensor that repeats, or
// one number per image. Every thread loads all its packs before it stores the first, so y may be one of the operands.
#pragma once

#include <tuple>
#include <utility>

#include "ops/device.h"

namespace shardit::device {

// Nothing but the conversion of types.
struct Same {
  __device__ float operator()(float x) const { return x; }
};

// An operand with as many elements as y.
template <typename T> struct Stream {
  const T* p;
  template <int V> __device__ __forceinline__ void load(uint32_t pack, float (&x)[V]) const {
    const Pack<T, V> loaded = device::load<V>(p, pack);
#pragma unroll
    for (int j = 0; j < V; ++j) x[j] = loaded[j];
  }
};

// One that repeats after `packs` packs.
template <typename T> struct Repeated {
  const T* p;
  uint32_t packs;
  template <int V> __device__ __forceinline__ void load(uint32_t pack, float (&x)[V]) const {
    Stream<T>{p}.load(pack % packs, x);
  }
};

// One number for every `packs` packs.
template <typename T> struct PerImage {
  const T* p;
  uint32_t packs;
  template <int V> __device__ __forceinline__ void load(uint32_t pack, float (&x)[V]) const {
    const float value = p[pack / packs];
#pragma unroll
    for (int j = 0; j < V; ++j) x[j] = value;
  }
};

inline constexpr int kMapThreads = 256, kMapPacks = 2;  // of a block; of a thread

template <int V, typename F, typename Y, typename... X>
__global__ void __launch_bounds__(kMapThreads) map_kernel(F f, Y* y, uint32_t packs, X... operands) {
  float x[kMapPacks][sizeof...(X)][V];
  const uint32_t first = blockIdx.x * (kMapThreads * kMapPacks) + threadIdx.x;
#pragma unroll
  for (int k = 0; k < kMapPacks; ++k) {
    const uint32_t pack = first + k * kMapThreads;
    int o = 0;
    if (pack < packs) (operands.load(pack, x[k][o++]), ...);
  }
#pragma unroll
  for (int k = 0; k < kMapPacks; ++k) {
    const uint32_t pack = first + k * kMapThreads;
    if (pack >= packs) return;
    float out[V];
#pragma unroll
    for (int j = 0; j < V; ++j) out[j] = [&]<size_t... o>(std::index_sequence<o...>) {
        return f(x[k][o][j]...);
      }
    (std::make_index_sequence<sizeof...(X)>{});
    store<V>(y, pack, out);
  }
}

// y[0 … packs * V) = f(operands).
template <int V, typename F, typename Y, typename... X>
void map(void* stream, F f, Y* y, int64_t elements, X... operands) {
  const int64_t packs = elements / V;
  CHECK_LT(packs, int64_t{1} << 32) << "a pointwise kernel of " << elements << " elements";
  if (packs == 0) return;
  launch(map_kernel<V, F, Y, X...>, static_cast<unsigned>(blocks_for(packs, kMapThreads * kMapPacks)), kMapThreads, 0,
         stream, f, y, static_cast<uint32_t>(packs), operands...);
}

// out[0] = f(in[0])
template <typename F> void map_elements(const KernelArgs& k, void* stream, F f) {
  const int64_t n = k.out[0].numel();
  visit(k.in[0].dtype(), k.out[0].dtype(), [&]<typename X, typename Y>(X, Y) {
    visit_pack<X, Y>({n}, {k.in[0].data, k.out[0].data},
                     [&](auto v) { map<v>(stream, f, k.out[0].as<Y>(), n, Stream<X>{k.in[0].as<X>()}); });
  });
}

// out[0] = f(in[0], in[1])
template <typename F> void map_elements2(const KernelArgs& k, void* stream, F f) {
  const int64_t n = k.out[0].numel();
  visit(k.in[0].dtype(), k.in[1].dtype(), k.out[0].dtype(), [&]<typename A, typename B, typename Y>(A, B, Y) {
    visit_pack<A, B, Y>({n}, {k.in[0].data, k.in[1].data, k.out[0].data}, [&](auto v) {
      map<v>(stream, f, k.out[0].as<Y>(), n, Stream<A>{k.in[0].as<A>()}, Stream<B>{k.in[1].as<B>()});
    });
  });
}

// Packs of one image's elements, for PerImage.
inline uint32_t packs_per_image(const Shape& x, int v) { return static_cast<uint32_t>(x.numel() / x[0] / v); }

}  // namespace shardit::device

// What device kernels share: packs of neighbouring elements, sums over a warp, loops over elements.
//
// All our kernels are bound by bytes. A thread loads packs of up to 16 bytes, computes in fp32 and stores packs; who
// reads what, and in which order sums are taken, follows from the shape alone. A pack never straddles the end of a row
// or tensor: where the shape or an address does not allow packs, the same kernel runs with packs of one element.
#pragma once

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <type_traits>

#include <glog/logging.h>
#include "core/op_card.h"
#include "core/ptx.h"

namespace shardit::device {

inline constexpr int kWarp = 32;
inline constexpr uint32_t kAllLanes = 0xffffffffu;

// ---- packs -------------------------------------------------------------------------------------------------------

// V neighbouring elements as they stand in memory; one access loads or stores them.
template <typename T, int V> struct Pack;

template <int V> struct alignas(4 * V) Pack<float, V> {
  float x[V];

  __device__ __forceinline__ float operator[](int i) const { return x[i]; }
  __device__ __forceinline__ static Pack of(const float (&values)[V]) {
    Pack pack;
#pragma unroll
    for (int i = 0; i < V; ++i) pack.x[i] = values[i];
    return pack;
  }
};

template <int V> struct alignas(2 * V) Pack<BF16, V> {
  uint32_t pair[V / 2];

  __device__ __forceinline__ float operator[](int i) const {
    const uint32_t bits = i % 2 ? pair[i / 2] & 0xffff0000u : pair[i / 2] << 16;
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
  }
  __device__ __forceinline__ static Pack of(const float (&values)[V]) {
    Pack pack;
#pragma unroll
    for (int i = 0; i < V; i += 2) pack.pair[i / 2] = ptx::pack_bf16(values[i], values[i + 1]);
    return pack;
  }
};

template <int V> struct alignas(V) Pack<uint8_t, V> {
  uint8_t x[V];
  __device__ __forceinline__ float operator[](int i) const { return x[i]; }
};

template <> struct Pack<BF16, 1> {
  BF16 x;

  __device__ __forceinline__ float operator[](int) const { return x; }
  __device__ __forceinline__ static Pack of(const float (&values)[1]) { return {BF16(values[0])}; }
};

// Pack `i` of the array p. REQUIRES: p is aligned to packs.
template <int V, typename T> __device__ __forceinline__ Pack<T, V> load(const T* p, int64_t i) {
  return reinterpret_cast<const Pack<T, V>*>(p)[i];
}
template <int V, typename T> __device__ __forceinline__ void store(T* p, int64_t i, const float (&values)[V]) {
  reinterpret_cast<Pack<T, V>*>(p)[i] = Pack<T, V>::of(values);
}

// ---- sums --------------------------------------------------------------------------------------------------------

// The sum over the warp's lanes, in every lane: a butterfly, so all lanes get the same bits.
template <typename T> __device__ __forceinline__ T warp_sum(T x) {
#pragma unroll
  for (int lanes = kWarp / 2; lanes > 0; lanes /= 2) x += __shfl_xor_sync(kAllLanes, x, lanes);
  return x;
}

// ---- host side ---------------------------------------------------------------------------------------------------

// Calls f(T{}) with the C++ type of a dtype that device kernels compute on.
template <typename F> void visit(DType dtype, F&& f) {
  switch (dtype) {
    case DType::kF32:
      return f(float{});
    case DType::kBF16:
      return f(BF16{});
    default:
      LOG(FATAL) << "no device kernel for elements of type " << name_of(dtype);
  }
}
template <typename F> void visit(DType a, DType b, F&& f) {
  visit(a, [&]<typename A>(A) { visit(b, [&]<typename B>(B) { f(A{}, B{}); }); });
}
template <typename F> void visit(DType a, DType b, DType c, F&& f) {
  visit(a, b, [&]<typename A, typename B>(A, B) { visit(c, [&]<typename C>(C) { f(A{}, B{}, C{}); }); });
}

// Elements of a pack, such that the widest type fills 16 bytes.
template <typename... T> inline constexpr int kPack = 16 / static_cast<int>(std::max({sizeof(T)...}));

// Calls f(V), an integral constant: kPack where every length is a multiple of it and every address is aligned, else 1.
template <typename... T, typename F>
void visit_pack(std::initializer_list<int64_t> lengths, std::initializer_list<const void*> addresses, F&& f) {
  bool fits = true;
  for (const int64_t n : lengths) fits = fits && n % kPack<T...> == 0;
  for (const void* p : addresses) fits = fits && reinterpret_cast<uintptr_t>(p) % 16 == 0;
  if (fits)
    f(std::integral_constant<int, kPack<T...>>{});
  else
    f(std::integral_constant<int, 1>{});
}

inline int64_t blocks_for(int64_t items, int64_t per_block) { return (items + per_block - 1) / per_block; }

}  // namespace shardit::device

// What CPU kernels share: types by dtype, tiles by shape, pointwise loops.
//
// A kernel is a template over its element types: fp32 and bf16 for runs, fp64 for the sweep. It computes in Accum
// (fp32, or fp64 when everything is fp64) and rounds once per output. Loops are plain, so that the compiler vectorises
// them; products and sums are fused only where the source says fma.
#pragma once

#include <cmath>
#include <type_traits>

#include <glog/logging.h>
#include "core/op_card.h"

namespace shardit {

template <typename T> using Accum = std::conditional_t<std::is_same_v<T, double>, double, float>;

// Calls f(T{}) with the C++ type of a floating dtype.
template <typename F> void visit_real(DType dtype, F&& f) {
  switch (dtype) {
    case DType::kF32:
      return f(float{});
    case DType::kBF16:
      return f(BF16{});
    case DType::kF64:
      return f(double{});
    default:
      LOG(FATAL) << "no kernel for elements of type " << name_of(dtype);
  }
}

template <typename A, typename B> inline constexpr bool kMix = std::is_same_v<A, double> == std::is_same_v<B, double>;

// The same for several operands of independent type; fp64 does not mix with the others.
template <typename F> void visit_real(DType a, DType b, F&& f) {
  CHECK_EQ(a == DType::kF64, b == DType::kF64) << "no kernel mixes " << name_of(a) << " with " << name_of(b);
  visit_real(a, [&]<typename A>(A) {
    visit_real(b, [&]<typename B>(B) {
      if constexpr (kMix<A, B>) f(A{}, B{});
    });
  });
}
template <typename F> void visit_real(DType a, DType b, DType c, F&& f) {
  CHECK_EQ(a == DType::kF64, c == DType::kF64) << "no kernel mixes " << name_of(a) << " with " << name_of(c);
  visit_real(a, b, [&]<typename A, typename B>(A, B) {
    visit_real(c, [&]<typename C>(C) {
      if constexpr (kMix<A, C>) f(A{}, B{}, C{});
    });
  });
}

inline constexpr int64_t kPointwiseTile = 16384;  // elements; a tile's operands stay in the first-level cache's reach

// out[i] = f(in[i]) in Accum.
template <typename F> void map_elements(const KernelArgs& k, F&& f) {
  visit_real(k.in[0].dtype(), k.out[0].dtype(), [&](auto tx, auto ty) {
    using X = decltype(tx);
    using Y = decltype(ty);
    const X* x = k.in[0].as<X>();
    Y* y = k.out[0].as<Y>();
    const int64_t n = k.out[0].numel();
    k.pool->run(tile_count(n, kPointwiseTile), [&](int64_t t, int) {
      const Tile tile = tile_at(n, kPointwiseTile, t);
      for (int64_t i = tile.begin; i < tile.end; ++i) y[i] = Y(f(static_cast<Accum<X>>(x[i])));
    });
  });
}

// out[i] = f(a[i], b[i]) in Accum.
template <typename F> void map_elements2(const KernelArgs& k, F&& f) {
  visit_real(k.in[0].dtype(), k.in[1].dtype(), k.out[0].dtype(), [&](auto ta, auto tb, auto ty) {
    using A = decltype(ta);
    using B = decltype(tb);
    using Y = decltype(ty);
    const A* a = k.in[0].as<A>();
    const B* b = k.in[1].as<B>();
    Y* y = k.out[0].as<Y>();
    const int64_t n = k.out[0].numel();
    k.pool->run(tile_count(n, kPointwiseTile), [&](int64_t t, int) {
      const Tile tile = tile_at(n, kPointwiseTile, t);
      for (int64_t i = tile.begin; i < tile.end; ++i)
        y[i] = Y(f(static_cast<Accum<A>>(a[i]), static_cast<Accum<B>>(b[i])));
    });
  });
}

// Declares a device kernel's entry, for a card's `cuda`; its .cu file defines it. Null in a program that does not link
// the device kernels.
#define DEVICE_KERNEL(name) [[gnu::weak]] void name(const KernelArgs& k, void* stream)
// The same for a card's `cuda_prepare`.
#define DEVICE_PREPARE(name) [[gnu::weak]] std::unique_ptr<Prepared> name(const NodeTypes& n)

// Shape rules and costs that many cards share.
inline bool is_suffix(const Shape& suffix, const Shape& shape) {
  if (suffix.rank() > shape.rank()) return false;
  for (int i = 1; i <= suffix.rank(); ++i)
    if (suffix[-i] != shape[-i]) return false;
  return true;
}

inline std::vector<Type> same_as_first(const NodeTypes& n) { return {n.in[0]}; }
template <int kFlopsPerElement> Cost pointwise_cost(const NodeTypes& n) {
  return {.flops = kFlopsPerElement * static_cast<double>(n.out[0].shape.numel()), .bytes = streamed(n)};
}

}  // namespace shardit

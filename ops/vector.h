// Short vectors for kernels that the compiler does not vectorise well by itself: 64 bytes, in one AVX-512 register or
// two of AVX2. Lane i of every operation is the scalar operation, so a lane's bits do not depend on the width of the
// machine; horizontal sums have one fixed order.
//
// A register is what one instruction works on: the compiler takes vectors that are wider than the machine's apart into
// single numbers wherever it compares them, so a vector is an array of registers.
#pragma once

#include <array>
#include <cmath>
#include <cstring>
#include <type_traits>
#include <utility>

#include "core/dtype.h"

#if defined(__FMA__)
#include <immintrin.h>
#endif

#pragma GCC diagnostic ignored "-Wpsabi"  // vectors are never passed between translation units

namespace shardit {

#if defined(__AVX512F__)
inline constexpr int kRegisterBytes = 64;
#elif defined(__AVX__)
inline constexpr int kRegisterBytes = 32;
#else
inline constexpr int kRegisterBytes = 16;
#endif
inline constexpr int kRegistersOfVector = 64 / kRegisterBytes;

template <typename S> struct RegisterOf;
template <> struct RegisterOf<float> { typedef float type __attribute__((vector_size(kRegisterBytes))); };
template <> struct RegisterOf<double> { typedef double type __attribute__((vector_size(kRegisterBytes))); };
template <> struct RegisterOf<int32_t> { typedef int32_t type __attribute__((vector_size(kRegisterBytes))); };
template <> struct RegisterOf<uint32_t> { typedef uint32_t type __attribute__((vector_size(kRegisterBytes))); };
template <> struct RegisterOf<uint16_t> { typedef uint16_t type __attribute__((vector_size(kRegisterBytes / 2))); };
template <typename S> using Register = typename RegisterOf<S>::type;

template <typename S> inline constexpr int kRegisterLanes = kRegisterBytes / static_cast<int>(sizeof(S));
template <typename S> inline constexpr int kVectorLanes = 64 / static_cast<int>(sizeof(S));

// The compiler takes the pointer for one that it knows nothing of.
template <typename T> [[gnu::always_inline]] inline T* opaque(T* p) {
  asm("" : "+r"(p));
  return p;
}

// Calls f with the constant n, 1 <= n <= kMost.
template <int kMost, typename F> [[gnu::always_inline]] inline void with_constant(int64_t n, F&& f) {
  if (n == kMost) return f(std::integral_constant<int, kMost>());
  [&]<int... I>(std::integer_sequence<int, I...>) {
    ((n == I + 1 && (f(std::integral_constant<int, I + 1>()), true)) || ...);
  }
  (std::make_integer_sequence<int, kMost - 1>());
}

// ---- registers -----------------------------------------------------------------------------------------------------

template <typename S> inline Register<S> broadcast_register(S x) { return x - Register<S>{}; }  // x - 0 is x, -0 too

// The lanes at p, which needs no alignment; bf16 is widened.
template <typename S> inline Register<S> load_register(const S* p) {
  Register<S> x;
  std::memcpy(&x, p, sizeof x);
  return x;
}
template <typename S> inline Register<float> load_register(const BF16* p) {
  Register<uint16_t> bits;
  std::memcpy(&bits, p, sizeof bits);
  return reinterpret_cast<Register<float>>(__builtin_convertvector(bits, Register<uint32_t>) << 16);
}
template <typename S> inline void store_register(S* p, Register<S> x) { std::memcpy(p, &x, sizeof x); }
inline void store_register(BF16* p, Register<float> x) {  // the rounding of BF16(float)
  const auto u = reinterpret_cast<Register<uint32_t>>(x);
  const Register<uint32_t> rounded = (u + 0x7fffu + ((u >> 16) & 1u)) >> 16;
  const Register<uint32_t> kept = (u & 0x7fffffffu) > 0x7f800000u ? Register<uint32_t>{} + 0x7fffu : rounded;
  const auto narrow = __builtin_convertvector(kept, Register<uint16_t>);
  std::memcpy(static_cast<void*>(p), &narrow, sizeof narrow);
}

// a * b + c, rounded once.
template <typename R> inline R fma_register(R a, R b, R c) {
#if defined(__AVX512F__)
  if constexpr (std::is_same_v<R, Register<float>>)
    return reinterpret_cast<R>(
        _mm512_fmadd_ps(reinterpret_cast<__m512>(a), reinterpret_cast<__m512>(b), reinterpret_cast<__m512>(c)));
  else
    return reinterpret_cast<R>(
        _mm512_fmadd_pd(reinterpret_cast<__m512d>(a), reinterpret_cast<__m512d>(b), reinterpret_cast<__m512d>(c)));
#elif defined(__FMA__)
  if constexpr (std::is_same_v<R, Register<float>>)
    return reinterpret_cast<R>(
        _mm256_fmadd_ps(reinterpret_cast<__m256>(a), reinterpret_cast<__m256>(b), reinterpret_cast<__m256>(c)));
  else
    return reinterpret_cast<R>(
        _mm256_fmadd_pd(reinterpret_cast<__m256d>(a), reinterpret_cast<__m256d>(b), reinterpret_cast<__m256d>(c)));
#else
  for (size_t i = 0; i < sizeof(R) / sizeof(a[0]); ++i) a[i] = std::fma(a[i], b[i], c[i]);
  return a;
#endif
}

// The bits of exp_of (ops/math.h) in every lane, of x <= 88: there 2^k is one number.
inline Register<float> exp_register(Register<float> x) {
  const auto all = [](float c) { return broadcast_register(c); };
  const Register<float> least = all(-87.33f), clamped = least > x ? least : x;
  const float kRound = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer, half to even, and leaves it below
  const Register<float> shifted = clamped * 1.44269504088896341f + kRound, k = shifted - kRound;
  Register<float> r = fma_register(k, all(-0.693359375f), clamped);
  r = fma_register(k, all(2.12194440e-4f), r);
  Register<float> p = all(1.0f / 5040);
  for (float c : {1.0f / 720, 1.0f / 120, 1.0f / 24, 1.0f / 6, 0.5f, 1.0f, 1.0f}) p = fma_register(p, r, all(c));
  p = reinterpret_cast<Register<float>>(reinterpret_cast<Register<uint32_t>>(p) +
                                        (reinterpret_cast<Register<uint32_t>>(shifted) << 23));
  return x < least ? Register<float>{} : p;
}
inline Register<double> exp_register(Register<double> x) {
  for (int i = 0; i < kRegisterLanes<double>; ++i) x[i] = std::exp(x[i]);
  return x;
}

// a0 b0 a1 b1 … of the lower halves, or of the upper ones.
template <typename S, bool upper> inline Register<S> zip_register(Register<S> a, Register<S> b) {
  constexpr int kLanes = kRegisterLanes<S>;
  return [&]<int... I>(std::integer_sequence<int, I...>) {
    return __builtin_shufflevector(a, b, (I / 2 + (upper ? kLanes / 2 : 0) + I % 2 * kLanes)...);
  }
  (std::make_integer_sequence<int, kLanes>());
}

// The lanes' sum or the like, in halves; f takes two registers, of which only the first `half` lanes count.
template <typename S, typename F> inline S reduce_register(Register<S> x, F&& f) {
  constexpr int kLanes = kRegisterLanes<S>;
  const auto folded = [&]<int kHalf, int... I>(std::integral_constant<int, kHalf>, std::integer_sequence<int, I...>) {
    x = f(x, __builtin_shufflevector(x, x, (I + kHalf) % kLanes...));
  };
  constexpr auto kAll = std::make_integer_sequence<int, kLanes>();
  if constexpr (kLanes >= 16) folded(std::integral_constant<int, 8>(), kAll);
  if constexpr (kLanes >= 8) folded(std::integral_constant<int, 4>(), kAll);
  if constexpr (kLanes >= 4) folded(std::integral_constant<int, 2>(), kAll);
  folded(std::integral_constant<int, 1>(), kAll);
  return x[0];
}

// ---- vectors -------------------------------------------------------------------------------------------------------

template <typename S> struct Vector {  // S: float or double
  Register<S> part[kRegistersOfVector] = {};

  Vector() = default;
  Vector(S x) {  // in every lane
    for (Register<S>& p : part) p = broadcast_register(x);
  }
  S operator[](int i) const { return part[i / kRegisterLanes<S>][i % kRegisterLanes<S>]; }

  // f(i) makes register i.
  template <typename F> [[gnu::always_inline]] static Vector of_registers(F&& f) {
    Vector x;
#pragma GCC unroll 4
    for (int i = 0; i < kRegistersOfVector; ++i) x.part[i] = f(i);
    return x;
  }
  friend Vector operator+(const Vector& a, const Vector& b) {
    return of_registers([&](int i) { return a.part[i] + b.part[i]; });
  }
  friend Vector operator-(const Vector& a, const Vector& b) {
    return of_registers([&](int i) { return a.part[i] - b.part[i]; });
  }
  friend Vector operator*(const Vector& a, const Vector& b) {
    return of_registers([&](int i) { return a.part[i] * b.part[i]; });
  }
  Vector& operator+=(const Vector& b) { return *this = *this + b; }
};

template <typename S> inline Vector<S> broadcast(S x) { return x; }

// The lanes at p, which needs no alignment; bf16 is widened.
template <typename T> inline auto load(const T* p) {
  using S = std::conditional_t<std::is_same_v<T, BF16>, float, T>;
  return Vector<S>::of_registers([&](int i) { return load_register<S>(p + i * kRegisterLanes<S>); });
}
template <typename S, typename T> inline void store(T* p, const Vector<S>& x) {
#pragma GCC unroll 4
  for (int i = 0; i < kRegistersOfVector; ++i) store_register(p + i * kRegisterLanes<S>, x.part[i]);
}

// The first n lanes; the others are `rest`, or not written.
template <typename S, typename T> inline Vector<S> load_part(const T* p, int64_t n, S rest = 0) {
  alignas(64) S lanes[kVectorLanes<S>];
  for (int i = 0; i < kVectorLanes<S>; ++i) lanes[i] = i < n ? static_cast<S>(p[i]) : rest;
  return load(lanes);
}
template <typename S, typename T> inline void store_part(T* p, const Vector<S>& x, int64_t n) {
  alignas(64) S lanes[kVectorLanes<S>];
  store(lanes, x);
  for (int64_t i = 0; i < n; ++i) p[i] = T(lanes[i]);
}

// `lanes` elements at p, zeros after them.
template <typename S, typename T> Vector<S> load_lanes(const T* p, int64_t lanes) {
  return lanes == kVectorLanes<S> ? load(p) : load_part<S>(p, lanes);
}
template <typename S, typename T> void store_lanes(T* p, Vector<S> v, int64_t lanes) {
  lanes == kVectorLanes<S> ? store(p, v) : store_part<S>(p, v, lanes);
}

// a * b + c, rounded once.
template <typename S> inline Vector<S> fma(const Vector<S>& a, const Vector<S>& b, const Vector<S>& c) {
  return Vector<S>::of_registers([&](int i) { return fma_register(a.part[i], b.part[i], c.part[i]); });
}
template <typename S> inline Vector<S> maximum(const Vector<S>& a, const Vector<S>& b) {
  return Vector<S>::of_registers([&](int i) { return a.part[i] > b.part[i] ? a.part[i] : b.part[i]; });
}
// Lanes [begin, end) of x, else 0.
template <typename S> inline Vector<S> lanes_between(const Vector<S>& x, int64_t begin, int64_t end) {
  alignas(64) static constexpr auto kLane = [] {
    std::array<S, kVectorLanes<S>> lane{};
    for (int i = 0; i < kVectorLanes<S>; ++i) lane[i] = static_cast<S>(i);
    return lane;
  }();
  const Vector<S> lane = load(kLane.data());
  return Vector<S>::of_registers([&](int i) {
    return lane.part[i] >= static_cast<S>(begin) && lane.part[i] < static_cast<S>(end) ? x.part[i] : Register<S>{};
  });
}
// x where `condition` is greater than zero, else 0.
template <typename S> inline Vector<S> where_positive(const Vector<S>& condition, const Vector<S>& x) {
  return Vector<S>::of_registers([&](int i) { return condition.part[i] > Register<S>{} ? x.part[i] : Register<S>{}; });
}
template <typename S> inline Vector<S> exp_of(const Vector<S>& x) {
  return Vector<S>::of_registers([&](int i) { return exp_register(x.part[i]); });
}

// Over the lanes, in halves: 16 to 8 to 4 to 2 to 1.
template <typename S, typename F> inline S reduce(const Vector<S>& x, F&& f) {
  Register<S> parts[kRegistersOfVector];
#pragma GCC unroll 4
  for (int i = 0; i < kRegistersOfVector; ++i) parts[i] = x.part[i];
#pragma GCC unroll 2
  for (int half = kRegistersOfVector / 2; half > 0; half /= 2)
#pragma GCC unroll 2
    for (int i = 0; i < half; ++i) parts[i] = f(parts[i], parts[i + half]);
  return reduce_register<S>(parts[0], f);
}
template <typename S> inline S sum(const Vector<S>& x) {
  return reduce(x, [](auto a, auto b) { return a + b; });
}
template <typename S> inline S largest_lane(const Vector<S>& x) {
  return reduce(x, [](auto a, auto b) { return a > b ? a : b; });
}

// Of R rows, R a power of two: lane j of row i becomes lane j * R + i of all rows together.
template <typename S, int R> [[gnu::always_inline]] inline void interleave_rows(Register<S> (&x)[R]) {
  Register<S> y[R];
#pragma GCC unroll 4
  for (int stage = 1; stage < R; stage *= 2) {  // log2(R) perfect shuffles of the rows
#pragma GCC unroll 8
    for (int i = 0; i < R / 2; ++i) {
      y[2 * i] = zip_register<S, false>(x[i], x[i + R / 2]);
      y[2 * i + 1] = zip_register<S, true>(x[i], x[i + R / 2]);
    }
#pragma GCC unroll 16
    for (int i = 0; i < R; ++i) x[i] = y[i];
  }
}

// Lane j of row i becomes lane i of row j, of as many rows as a register has lanes; bf16 is widened.
template <typename S, typename T>
inline void transpose_registers(const T* from, int64_t from_stride, S* to, int64_t to_stride) {
  constexpr int kLanes = kRegisterLanes<S>;
  Register<S> x[kLanes];
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; ++i) x[i] = load_register<S>(from + i * from_stride);
  interleave_rows<S>(x);
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; ++i) store_register(to + i * to_stride, x[i]);
}

// The same of as many rows as a vector has lanes.
template <typename S, typename T>
inline void transpose_square(const T* from, int64_t from_stride, S* to, int64_t to_stride) {
  constexpr int kLanes = kRegisterLanes<S>;
  for (int r = 0; r < kVectorLanes<S>; r += kLanes)
    for (int c = 0; c < kVectorLanes<S>; c += kLanes)
      transpose_registers(from + r * from_stride + c, from_stride, to + c * to_stride + r, to_stride);
}

}  // namespace shardit

// Short vectors for kernels that the compiler does not vectorise well by itself: 64 bytes, in one AVX-512 register or
// two AVX2 ones. Lane i of every operation is the scalar operation, so a lane's bits do not depend on the width of the
// machine; horizontal sums have one fixed order.
#pragma once

#include <cmath>
#include <cstring>

#include "core/dtype.h"

#if defined(__AVX512F__) || defined(__FMA__)
#include <immintrin.h>
#endif

#pragma GCC diagnostic ignored "-Wpsabi"  // vectors are never passed between translation units

namespace shardit {

template <typename S> inline constexpr int kVectorLanes = 64 / static_cast<int>(sizeof(S));

template <typename S> struct VectorOf;
template <> struct VectorOf<float> { typedef float type __attribute__((vector_size(64))); };
template <> struct VectorOf<double> { typedef double type __attribute__((vector_size(64))); };
template <typename S> using Vector = typename VectorOf<S>::type;  // S: float or double

namespace vector_detail {
typedef uint16_t U16 __attribute__((vector_size(32)));
typedef uint32_t U32 __attribute__((vector_size(64)));
}  // namespace vector_detail

template <typename S> inline Vector<S> broadcast(S x) { return x - Vector<S>{}; }  // x - 0 is x, for -0 too

// The lanes at p, which needs no alignment; bf16 is widened.
inline Vector<float> load(const float* p) {
  Vector<float> v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
inline Vector<double> load(const double* p) {
  Vector<double> v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
inline Vector<float> load(const BF16* p) {
  vector_detail::U16 u;
  std::memcpy(&u, p, sizeof u);
  return reinterpret_cast<Vector<float>>(__builtin_convertvector(u, vector_detail::U32) << 16);
}

inline void store(float* p, Vector<float> v) { std::memcpy(p, &v, sizeof v); }
inline void store(double* p, Vector<double> v) { std::memcpy(p, &v, sizeof v); }
inline void store(BF16* p, Vector<float> v) {  // the rounding of BF16(float)
  const auto u = reinterpret_cast<vector_detail::U32>(v);
  const vector_detail::U32 rounded = (u + 0x7fffu + ((u >> 16) & 1u)) >> 16;
  const vector_detail::U32 kept = (u & 0x7fffffffu) > 0x7f800000u ? vector_detail::U32{} + 0x7fffu : rounded;
  const auto narrow = __builtin_convertvector(kept, vector_detail::U16);
  std::memcpy(static_cast<void*>(p), &narrow, sizeof narrow);
}

// The first n lanes; the others are `rest`, or not written.
template <typename S, typename T> inline Vector<S> load_part(const T* p, int64_t n, S rest = 0) {
  alignas(64) S lanes[kVectorLanes<S>];
  for (int i = 0; i < kVectorLanes<S>; ++i) lanes[i] = i < n ? static_cast<S>(p[i]) : rest;
  return load(lanes);
}
template <typename S, typename T> inline void store_part(T* p, Vector<S> v, int64_t n) {
  for (int64_t i = 0; i < n; ++i) p[i] = T(v[i]);
}

// `lanes` elements at p, zeros after them.
template <typename S, typename T> Vector<S> load_lanes(const T* p, int64_t lanes) {
  return lanes == kVectorLanes<S> ? load(p) : load_part<S>(p, lanes);
}
template <typename S, typename T> void store_lanes(T* p, Vector<S> v, int64_t lanes) {
  lanes == kVectorLanes<S> ? store(p, v) : store_part<S>(p, v, lanes);
}

// a * b + c, rounded once.
inline Vector<float> fma(Vector<float> a, Vector<float> b, Vector<float> c) {
#if defined(__AVX512F__)
  return reinterpret_cast<Vector<float>>(
      _mm512_fmadd_ps(reinterpret_cast<__m512>(a), reinterpret_cast<__m512>(b), reinterpret_cast<__m512>(c)));
#elif defined(__FMA__)
  Vector<float> r;
  for (int h = 0; h < 2; ++h) {
    __m256 x, y, z;
    std::memcpy(&x, reinterpret_cast<const char*>(&a) + 32 * h, 32);
    std::memcpy(&y, reinterpret_cast<const char*>(&b) + 32 * h, 32);
    std::memcpy(&z, reinterpret_cast<const char*>(&c) + 32 * h, 32);
    x = _mm256_fmadd_ps(x, y, z);
    std::memcpy(reinterpret_cast<char*>(&r) + 32 * h, &x, 32);
  }
  return r;
#else
  Vector<float> r;
  for (int i = 0; i < kVectorLanes<float>; ++i) r[i] = std::fma(a[i], b[i], c[i]);
  return r;
#endif
}
inline Vector<double> fma(Vector<double> a, Vector<double> b, Vector<double> c) {
  Vector<double> r;
  for (int i = 0; i < kVectorLanes<double>; ++i) r[i] = std::fma(a[i], b[i], c[i]);
  return r;
}

template <typename V> inline V maximum(V a, V b) { return a > b ? a : b; }

// The bits of exp_of (ops/math.h) in every lane.
inline Vector<float> exp_of(Vector<float> x) {
  typedef int32_t I32 __attribute__((vector_size(64)));
  Vector<float> clamped = maximum(x, broadcast(-87.33f));
  clamped = clamped < 88.72f ? clamped : broadcast(88.72f);
  const float kRound = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer, half to even
  const Vector<float> k = (clamped * 1.44269504088896341f + kRound) - kRound;
  Vector<float> r = fma(k, broadcast(-0.693359375f), clamped);
  r = fma(k, broadcast(2.12194440e-4f), r);
  Vector<float> p = broadcast(1.0f / 5040);
  for (float c : {1.0f / 720, 1.0f / 120, 1.0f / 24, 1.0f / 6, 0.5f, 1.0f, 1.0f}) p = fma(p, r, broadcast(c));
  const I32 e = __builtin_convertvector(k, I32), half = e >> 1;
  p = p * reinterpret_cast<Vector<float>>((half + 127) << 23) * reinterpret_cast<Vector<float>>((e - half + 127) << 23);
  p = x < -87.33f ? Vector<float>{} : p;
  p = x > 88.72f ? broadcast(__builtin_inff()) : p;
  return x == x ? p : x;
}
inline Vector<double> exp_of(Vector<double> x) {
  for (int i = 0; i < kVectorLanes<double>; ++i) x[i] = std::exp(x[i]);
  return x;
}

// Over the lanes, in halves: 16 to 8 to 4 to 2 to 1.
inline float sum(Vector<float> v) {
  v += __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7);
  v += __builtin_shufflevector(v, v, 4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3);
  v += __builtin_shufflevector(v, v, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1);
  return v[0] + v[1];
}
inline double sum(Vector<double> v) {
  v += __builtin_shufflevector(v, v, 4, 5, 6, 7, 0, 1, 2, 3);
  v += __builtin_shufflevector(v, v, 2, 3, 0, 1, 2, 3, 0, 1);
  return v[0] + v[1];
}
inline float largest_lane(Vector<float> v) {
  v = maximum(v, __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7));
  v = maximum(v, __builtin_shufflevector(v, v, 4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3));
  v = maximum(v, __builtin_shufflevector(v, v, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1));
  return v[0] > v[1] ? v[0] : v[1];
}
inline double largest_lane(Vector<double> v) {
  v = maximum(v, __builtin_shufflevector(v, v, 4, 5, 6, 7, 0, 1, 2, 3));
  v = maximum(v, __builtin_shufflevector(v, v, 2, 3, 0, 1, 2, 3, 0, 1));
  return v[0] > v[1] ? v[0] : v[1];
}

// a0 b0 a1 b1 … of the lower and of the upper halves.
inline Vector<float> zip_low(Vector<float> a, Vector<float> b) {
  return __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
}
inline Vector<float> zip_high(Vector<float> a, Vector<float> b) {
  return __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
}
inline Vector<double> zip_low(Vector<double> a, Vector<double> b) {
  return __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11);
}
inline Vector<double> zip_high(Vector<double> a, Vector<double> b) {
  return __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15);
}

}  // namespace shardit

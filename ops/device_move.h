// Bytes moved by device kernels as they are, in units of up to 16 bytes: rows of one stride to rows of another.
#pragma once

#include <numeric>

#include "ops/device.h"

namespace shardit::device {

template <int kBytes> struct alignas(kBytes) Words { uint32_t at[kBytes / 4]; };
template <int kBytes> struct UnitOf { using type = Words<kBytes>; };
template <> struct UnitOf<2> { using type = uint16_t; };
template <> struct UnitOf<1> { using type = uint8_t; };
template <int kBytes> using Unit = typename UnitOf<kBytes>::type;

// Calls f(kBytes) with the largest unit that divides all of `sizes` and the addresses.
template <typename F>
void visit_unit(std::initializer_list<int64_t> sizes, std::initializer_list<const void*> addresses, F&& f) {
  int64_t divisor = 16;
  for (const int64_t n : sizes) divisor = std::gcd(divisor, n);
  for (const void* p : addresses) divisor = std::gcd(divisor, static_cast<int64_t>(reinterpret_cast<uintptr_t>(p)));
  if (divisor == 16) return f(std::integral_constant<int, 16>{});
  if (divisor == 8) return f(std::integral_constant<int, 8>{});
  if (divisor == 4) return f(std::integral_constant<int, 4>{});
  if (divisor == 2) return f(std::integral_constant<int, 2>{});
  f(std::integral_constant<int, 1>{});
}

inline constexpr int kMoveThreads = 256, kMoveUnits = 4;  // of a block; of a thread

// Strides and width in units; a null `from` stands for zeros.
template <typename U>
__global__ void __launch_bounds__(kMoveThreads)
    move_rows_kernel(const U* from, int64_t from_stride, U* to, int64_t to_stride, uint32_t units, uint32_t width) {
  U held[kMoveUnits];
  const uint32_t first = blockIdx.x * (kMoveThreads * kMoveUnits) + threadIdx.x;
#pragma unroll
  for (int k = 0; k < kMoveUnits; ++k)
    if (const uint32_t i = first + k * kMoveThreads; i < units)
      held[k] = from ? from[i / width * from_stride + i % width] : U{};
#pragma unroll
  for (int k = 0; k < kMoveUnits; ++k)
    if (const uint32_t i = first + k * kMoveThreads; i < units) to[i / width * to_stride + i % width] = held[k];
}

// Moves `rows` rows of `width` bytes; strides in bytes. A null `from` writes zeros.
inline void move_rows(void* stream, const std::byte* from, int64_t from_stride, std::byte* to, int64_t to_stride,
                      int64_t rows, int64_t width) {
  if (rows * width == 0) return;
  visit_unit({from_stride, to_stride, width}, {from, to}, [&](auto bytes) {
    using U = Unit<bytes>;
    const int64_t units = rows * width / bytes;
    CHECK_LT(units, int64_t{1} << 32) << "a move of " << rows * width << " bytes in units of " << +bytes;
    launch(move_rows_kernel<U>, static_cast<unsigned>(blocks_for(units, kMoveThreads * kMoveUnits)), kMoveThreads, 0,
           stream, reinterpret_cast<const U*>(from), from_stride / bytes, reinterpret_cast<U*>(to), to_stride / bytes,
           static_cast<uint32_t>(units), static_cast<uint32_t>(width / bytes));
  });
}
inline void move(void* stream, const std::byte* from, std::byte* to, int64_t bytes) {
  move_rows(stream, from, bytes, to, bytes, 1, bytes);
}

}  // namespace shardit::device

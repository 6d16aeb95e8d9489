// Instructions that CUDA C++ has no word for, each beside the scalar code that the CPU runs in its place. All inline
// PTX of the project stands here and, for matrix products, in core/ptx_matrix.h and core/ptx_warpgroup.h.
//
// A twin gives the instruction's result to the bit where that is defined (conversions, matrix fragments' layout), and
// the exact function where the instruction is approximate. Twins of warp-wide instructions use simt::exchange.
#pragma once

#include <cstdint>
#include <cstring>

#include "core/cuda.h"
#include "core/dtype.h"

namespace shardit::ptx {

struct alignas(16) Four {
  float numbers[4];
};

#if defined(__CUDACC__)
#define SHARDIT_PTX __device__ __forceinline__

// Two floats as bf16, `low` in the lower half; rounded to nearest even, a NaN becomes 0x7fff.
SHARDIT_PTX uint32_t pack_bf16(float low, float high) {
  uint32_t packed;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
  return packed;
}

// 2^x and 1/x, of which at most the last two bits are wrong; subnormals count as zero.
SHARDIT_PTX float exp2_approximate(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
SHARDIT_PTX float reciprocal_approximate(float x) {
  float y;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

// Adds to floats in global memory, without waiting for it (sm_90). A thread's stores, additions and load_added of one
// address happen in its own order; with no other thread's in between, sums are the same in every run.
SHARDIT_PTX void add_to_global(Four* to, const Four& x) {
  asm volatile("red.relaxed.gpu.global.add.v4.f32 [%0], {%1,%2,%3,%4};" ::"l"(__cvta_generic_to_global(to)),
               "f"(x.numbers[0]), "f"(x.numbers[1]), "f"(x.numbers[2]), "f"(x.numbers[3])
               : "memory");
}
SHARDIT_PTX Four load_added(const Four* from) {
  Four x;
  asm volatile("ld.relaxed.gpu.global.v4.f32 {%0,%1,%2,%3}, [%4];"
               : "=f"(x.numbers[0]), "=f"(x.numbers[1]), "=f"(x.numbers[2]), "=f"(x.numbers[3])
               : "l"(__cvta_generic_to_global(from))
               : "memory");
  return x;
}

// What depends on x is computed from here on, not ahead of a loop, where it would take registers that there are none
// of.
SHARDIT_PTX void keep_here(int& x) { asm volatile("" : "+r"(x)); }

// Stops the kernel: the launch fails, and with it all that follows on the device.
SHARDIT_PTX void trap() { asm volatile("trap;"); }

#else
#define SHARDIT_PTX inline

SHARDIT_PTX uint32_t pack_bf16(float low, float high) {
  return static_cast<uint32_t>(BF16(low).bits) | static_cast<uint32_t>(BF16(high).bits) << 16;
}
SHARDIT_PTX float exp2_approximate(float x) { return std::exp2(x); }
SHARDIT_PTX float reciprocal_approximate(float x) { return 1.0f / x; }
SHARDIT_PTX void add_to_global(Four* to, const Four& x) {
  for (int i = 0; i < 4; ++i) to->numbers[i] += x.numbers[i];
}
SHARDIT_PTX Four load_added(const Four* from) { return *from; }
SHARDIT_PTX void keep_here(int&) {}
SHARDIT_PTX void trap() { throw simt::Error("a kernel stopped itself"); }

#endif

}  // namespace shardit::ptx

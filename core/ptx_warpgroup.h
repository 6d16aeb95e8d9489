// Hopper's warpgroup-wide matrix instructions (sm_90a: wgmma), and the barriers in shared memory (mbarrier) by which
// warps hand tiles to one another: inline PTX under nvcc, elsewhere a scalar twin of each for the SIMT runner.
//
// A warpgroup is four consecutive warps, the first a multiple of four; all its threads call a matrix function together.
// Warp w holds rows 16 w … 16 w + 15 of A and of the sums, as fragments of core/ptx_matrix.h. B lies in shared memory
// without swizzle: in matrices of 8 x 8 bf16, 128 contiguous bytes each, at distances that its descriptor gives.
//
// Products run behind the thread's back: begin_products(sums), products, end_product_group(), wait_for_products().
// Until the wait returns nobody touches the sums, registers of A, or B. What ordinary stores and copy_async have
// written to shared memory is seen by products after publish_to_products() in the writing threads and a barrier.
#pragma once

#include "core/ptx_matrix.h"

namespace shardit::ptx {

// Where B of one product lies: 16 rows of K by N columns. Distances between the two halves of K and between groups of 8
// columns, in bytes, multiples of 16.
struct RightOperand {
  uint64_t descriptor;
};

// A barrier in shared memory: a phase ends when `count` threads have arrived, and the next begins.
struct alignas(8) Barrier {
  uint64_t word;
};

// How the 8 x 8 matrices of B are stored: kColumns, a column of B (a row of a tile whose rows are B's columns) in 16
// contiguous bytes; kRows, a row of B.
enum class Stored { kColumns, kRows };

#if defined(__CUDACC__)

template <Stored kStored>
SHARDIT_PTX RightOperand right_operand(const void* first, uint32_t between_halves, uint32_t between_columns) {
  // Both ways the distance along K is the "leading" one, and that along N the "stride".
  const uint64_t leading = between_halves / 16, stride = between_columns / 16;
  return {(shared_address(first) & 0x3ffff) / 16 | leading << 16 | stride << 32};
}
SHARDIT_PTX RightOperand advance(RightOperand b, uint32_t bytes) { return {b.descriptor + bytes / 16}; }

#define SHARDIT_TILE(i) "+f"(c[i][0]), "+f"(c[i][1]), "+f"(c[i][2]), "+f"(c[i][3])
#define SHARDIT_8_TILES                                                                                 \
  SHARDIT_TILE(0), SHARDIT_TILE(1), SHARDIT_TILE(2), SHARDIT_TILE(3), SHARDIT_TILE(4), SHARDIT_TILE(5), \
      SHARDIT_TILE(6), SHARDIT_TILE(7)

// c += a b, 64 x 64 x 16.
template <Stored kStored>
SHARDIT_PTX void multiply_add_group(float (&c)[8][4], const uint32_t (&a)[4], RightOperand b) {
  asm volatile(
      "{ .reg .pred add; setp.eq.u32 add, 0, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 "
      "{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,"
      "%30,%31}, {%32,%33,%34,%35}, %36, add, 1, 1, %37; }"
      : SHARDIT_8_TILES
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b.descriptor), "n"(kStored == Stored::kRows ? 1 : 0));
}

// c += a b, 64 x 72 x 16.
template <Stored kStored>
SHARDIT_PTX void multiply_add_group(float (&c)[9][4], const uint32_t (&a)[4], RightOperand b) {
  asm volatile(
      "{ .reg .pred add; setp.eq.u32 add, 0, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n72k16.f32.bf16.bf16 "
      "{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,"
      "%30,%31,%32,%33,%34,%35}, {%36,%37,%38,%39}, %40, add, 1, 1, %41; }"
      : SHARDIT_8_TILES, SHARDIT_TILE(8)
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b.descriptor), "n"(kStored == Stored::kRows ? 1 : 0));
}
#undef SHARDIT_8_TILES
#undef SHARDIT_TILE

// With the sums that the products will use: what they start from is in their registers before the first product begins.
template <size_t... kTiles> SHARDIT_PTX void begin_products(float (&... sums)[kTiles][4]) {
  const auto settle = [](auto& c) {
    SHARDIT_UNROLL
    for (auto& tile : c) SHARDIT_UNROLL
    for (float& x : tile) asm volatile("" : "+f"(x)::"memory");
  };
  (settle(sums), ...);
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}
SHARDIT_PTX void end_product_group() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
// Until at most kPending of the last groups are under way.
template <int kPending> SHARDIT_PTX void wait_for_products() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kPending) : "memory");
}
SHARDIT_PTX void publish_to_products() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

// By one thread, before a __syncthreads.
SHARDIT_PTX void begin_barrier(Barrier& barrier, uint32_t count) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(&barrier)), "r"(count) : "memory");
}
SHARDIT_PTX void arrive(Barrier& barrier) {
  asm volatile("{ .reg .b64 state; mbarrier.arrive.shared::cta.b64 state, [%0]; }" ::"r"(shared_address(&barrier))
               : "memory");
}
// Until phase `phase` (counted from 0, the barrier's first) has ended. REQUIRES: the phase after it has not.
SHARDIT_PTX void wait(Barrier& barrier, int phase) {
  asm volatile(
      "{ .reg .pred ended;\n"
      "retry: mbarrier.try_wait.parity.shared::cta.b64 ended, [%0], %1;\n"
      "@!ended bra retry; }" ::"r"(shared_address(&barrier)),
      "r"(phase & 1)
      : "memory");
}

#else

namespace twin {

// Products under way, in groups, the open one last: one is computed as late as it may be, when its thread waits for it.
struct Product {
  float (*c)[4];
  const uint32_t* a;
  RightOperand b;
  unsigned columns;
  Stored stored;
};
using Products = std::deque<std::vector<Product>>;
inline Products& products_of_this_thread() {
  static thread_local std::unordered_map<const simt::Coordinates*, Products> products;
  Products& mine = products[simt::here];
  if (mine.empty()) mine.emplace_back();
  return mine;
}

inline uint32_t shared_offset(const void* p) {
  const auto offset = static_cast<const char*>(p) - static_cast<const char*>(simt::dynamic_shared());
  if (offset < 0 || offset % 16 != 0)
    throw simt::Error("an operand in shared memory does not begin at a multiple of 16 bytes");
  return static_cast<uint32_t>(offset);
}

// Element (k, n) of B, as the hardware finds it.
inline float element(const Product& p, unsigned k, unsigned n) {
  const uint64_t d = p.b.descriptor;
  const uint64_t matrix = 16 * ((d & 0x3fff) + k / 8 * (d >> 16 & 0x3fff) + n / 8 * (d >> 32 & 0x3fff));
  const unsigned within = p.stored == Stored::kColumns ? n % 8 * 8 + k % 8 : k % 8 * 8 + n % 8;
  BF16 x;
  std::memcpy(&x, static_cast<const char*>(simt::dynamic_shared()) + matrix + 2 * within, sizeof x);
  return static_cast<float>(x);
}

// This thread's sums: rows g and g + 8 of its warp's 16, whose fragments of A its lanes hold.
inline void multiply_add_group(const Product& p) {
  simt::Words<4> mine;
  std::memcpy(mine.data(), p.a, sizeof mine);
  const auto all = simt::exchange(mine);
  const unsigned g = simt::lane_id() / 4, t = simt::lane_id() % 4;
  float a[2][16];
  for (unsigned row = 0; row < 2; ++row)
    for (unsigned k = 0; k < 16; k += 2) {
      const uint32_t pair = all[4 * g + k / 2 % 4][k / 8 * 2 + row];
      a[row][k] = low_of(pair), a[row][k + 1] = high_of(pair);
    }
  for (unsigned n = 0; n < p.columns / 8; ++n)
    for (unsigned i = 0; i < 2; ++i)
      for (unsigned k = 0; k < 16; ++k) {
        const float b = element(p, k, 8 * n + 2 * t + i);
        p.c[n][i] += a[0][k] * b;
        p.c[n][2 + i] += a[1][k] * b;
      }
}

// A barrier's word: threads that a phase needs, threads still missing, phases that have ended.
struct BarrierState {
  uint16_t count, missing;
  uint32_t ended;
};
inline BarrierState state_of(const Barrier& barrier) { return std::bit_cast<BarrierState>(barrier.word); }

}  // namespace twin

template <Stored>
SHARDIT_PTX RightOperand right_operand(const void* first, uint32_t between_halves, uint32_t between_columns) {
  if (between_halves % 16 != 0 || between_columns % 16 != 0)
    throw simt::Error("matrices of an operand lie no multiple of 16 bytes apart");
  return {twin::shared_offset(first) / 16 | uint64_t{between_halves / 16} << 16 | uint64_t{between_columns / 16} << 32};
}
SHARDIT_PTX RightOperand advance(RightOperand b, uint32_t bytes) { return {b.descriptor + bytes / 16}; }
template <Stored kStored, size_t kTiles>
SHARDIT_PTX void multiply_add_group(float (&c)[kTiles][4], const uint32_t (&a)[4], RightOperand b) {
  twin::products_of_this_thread().back().push_back({c, a, b, 8 * kTiles, kStored});
}
template <size_t... kTiles> SHARDIT_PTX void begin_products(float (&... sums)[kTiles][4]) {
  (static_cast<void>(sums), ...);
}
SHARDIT_PTX void end_product_group() { twin::products_of_this_thread().emplace_back(); }
template <int kPending> SHARDIT_PTX void wait_for_products() {
  auto& groups = twin::products_of_this_thread();
  for (; groups.size() > kPending + 1; groups.pop_front())
    for (const twin::Product& p : groups.front()) twin::multiply_add_group(p);
}
SHARDIT_PTX void publish_to_products() {}

SHARDIT_PTX void begin_barrier(Barrier& barrier, uint32_t count) {
  barrier.word =
      std::bit_cast<uint64_t>(twin::BarrierState{static_cast<uint16_t>(count), static_cast<uint16_t>(count), 0});
}
SHARDIT_PTX void arrive(Barrier& barrier) {
  auto state = twin::state_of(barrier);
  if (--state.missing == 0) state.missing = state.count, ++state.ended;
  barrier.word = std::bit_cast<uint64_t>(state);
}
SHARDIT_PTX void wait(Barrier& barrier, int phase, simt::Where where = simt::Where::current()) {
  const auto ended = [&] { return twin::state_of(barrier).ended; };
  simt::wait_until([&] { return ended() > static_cast<uint32_t>(phase); }, where);
  if (ended() > static_cast<uint32_t>(phase) + 1) throw simt::Error("a barrier's next phase ended before this wait");
}

#endif

}  // namespace shardit::ptx

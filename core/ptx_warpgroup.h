// Hopper's warpgroup-wide matrix instructions (sm_90a: wgmma), and the barriers in shared memory (mbarrier) by which
// warps hand tiles to one another: inline PTX under nvcc, elsewhere a scalar twin of each for the SIMT runner.
//
// A warpgroup is four consecutive warps, the first a multiple of four; all its threads call a matrix function together.
// Warp w holds rows 16 w … 16 w + 15 of the sums and, if it is in registers, of A, as fragments of core/ptx_matrix.h. B
// lies in shared memory, and A may, without swizzle: in matrices of 8 x 8 bf16, 128 contiguous bytes each, at distances
// that a descriptor gives.
//
// Products run behind the thread's back: begin_products(sums), products, end_product_group(), wait_for_products().
// Until the wait returns nobody touches the sums, registers of A, or what lies in shared memory. What ordinary stores
// and copy_async have written to shared memory is seen by products after publish_to_products() in the writing threads
// and a barrier. Copies of whole pieces (copy_bulk) run so too, and end a phase of a barrier when their bytes have
// come.
#pragma once

#include "core/ptx_matrix.h"

namespace shardit::ptx {

// Where an operand of one product lies: 16 of K by its 64 rows (A) or N columns (B).
struct SharedOperand {
  uint64_t descriptor;
};

// A barrier in shared memory: a phase ends when `count` threads have arrived, and the next begins.
struct alignas(8) Barrier {
  uint64_t word;
};

// How the 8 x 8 matrices of an operand are stored: a row or a column of them in 16 contiguous bytes.
enum class Stored { kColumns, kRows };

#if defined(__CUDACC__)

// Bytes between matrices that follow one another along K, and across it; multiples of 16.
SHARDIT_PTX SharedOperand shared_operand(const void* first, uint32_t along, uint32_t across) {
  // However the matrices are stored, the distance along K is the "leading" one, and that across it the "stride".
  return {(shared_address(first) & 0x3ffff) / 16 | uint64_t{along / 16} << 16 | uint64_t{across / 16} << 32};
}
SHARDIT_PTX SharedOperand advance(SharedOperand x, uint32_t bytes) { return {x.descriptor + bytes / 16}; }

#define SHARDIT_TILE(i) "+f"(c[i][0]), "+f"(c[i][1]), "+f"(c[i][2]), "+f"(c[i][3])
#define SHARDIT_8_TILES                                                                                 \
  SHARDIT_TILE(0), SHARDIT_TILE(1), SHARDIT_TILE(2), SHARDIT_TILE(3), SHARDIT_TILE(4), SHARDIT_TILE(5), \
      SHARDIT_TILE(6), SHARDIT_TILE(7)

// "add": the products are added to the sums.
#define SHARDIT_ADD(shape) \
  "{ .reg .pred add; setp.eq.u32 add, 0, 0;\nwgmma.mma_async.sync.aligned." shape ".f32.bf16.bf16 "
#define SHARDIT_32_SUMS                                                                                        \
  "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28," \
  "%29,%30,%31"
#define SHARDIT_ADD_64 SHARDIT_ADD("m64n64k16") "{" SHARDIT_32_SUMS "}, "
#define SHARDIT_ADD_72 SHARDIT_ADD("m64n72k16") "{" SHARDIT_32_SUMS ",%32,%33,%34,%35}, "

// c += a b, 64 x 64 x 16.
template <Stored kRight>
SHARDIT_PTX void multiply_add_group(float (&c)[8][4], const uint32_t (&a)[4], SharedOperand b) {
  asm volatile(SHARDIT_ADD_64 "{%32,%33,%34,%35}, %36, add, 1, 1, %37; }"
               : SHARDIT_8_TILES
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b.descriptor), "n"(kRight == Stored::kRows ? 1 : 0));
}
template <Stored kLeft, Stored kRight>
SHARDIT_PTX void multiply_add_group(float (&c)[8][4], SharedOperand a, SharedOperand b) {
  asm volatile(SHARDIT_ADD_64 "%32, %33, add, 1, 1, %34, %35; }"
               : SHARDIT_8_TILES
               : "l"(a.descriptor), "l"(b.descriptor), "n"(kLeft == Stored::kColumns ? 1 : 0),
                 "n"(kRight == Stored::kRows ? 1 : 0));
}

// c += a b, 64 x 72 x 16.
template <Stored kRight>
SHARDIT_PTX void multiply_add_group(float (&c)[9][4], const uint32_t (&a)[4], SharedOperand b) {
  asm volatile(SHARDIT_ADD_72 "{%36,%37,%38,%39}, %40, add, 1, 1, %41; }"
               : SHARDIT_8_TILES, SHARDIT_TILE(8)
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b.descriptor), "n"(kRight == Stored::kRows ? 1 : 0));
}
template <Stored kLeft, Stored kRight>
SHARDIT_PTX void multiply_add_group(float (&c)[9][4], SharedOperand a, SharedOperand b) {
  asm volatile(SHARDIT_ADD_72 "%36, %37, add, 1, 1, %38, %39; }"
               : SHARDIT_8_TILES, SHARDIT_TILE(8)
               : "l"(a.descriptor), "l"(b.descriptor), "n"(kLeft == Stored::kColumns ? 1 : 0),
                 "n"(kRight == Stored::kRows ? 1 : 0));
}
#undef SHARDIT_ADD_72
#undef SHARDIT_ADD_64
#undef SHARDIT_32_SUMS
#undef SHARDIT_ADD
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
// Shows the copy engine, too, the barriers that this thread has begun.
SHARDIT_PTX void publish_to_products() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

// The reverse of load_matrices, to shared memory.
SHARDIT_PTX void store_matrices(const uint32_t (&r)[4], void* row) {
  asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1,%2,%3,%4};" ::"r"(shared_address(row)), "r"(r[0]),
               "r"(r[1]), "r"(r[2]), "r"(r[3])
               : "memory");
}

// Registers a thread of this warpgroup has from here on, a multiple of 8: fewer than before, or more, of those that the
// block's other warpgroups have given back. All its warps call it, where the kernel splits by warpgroup.
template <int kCount> SHARDIT_PTX void shrink_registers_to() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kCount));
}
template <int kCount> SHARDIT_PTX void grow_registers_to() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kCount));
}

// By one thread, before a __syncthreads.
SHARDIT_PTX void begin_barrier(Barrier& barrier, uint32_t count) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(&barrier)), "r"(count) : "memory");
}
SHARDIT_PTX void arrive(Barrier& barrier) {
  asm volatile("{ .reg .b64 state; mbarrier.arrive.shared::cta.b64 state, [%0]; }" ::"r"(shared_address(&barrier))
               : "memory");
}
// An arrival; the phase needs this many bytes of copy_bulk besides.
SHARDIT_PTX void arrive_expecting(Barrier& barrier, uint32_t bytes) {
  asm volatile(
      "{ .reg .b64 state; mbarrier.arrive.expect_tx.shared::cta.b64 state, [%0], %1; }" ::"r"(shared_address(&barrier)),
      "r"(bytes)
      : "memory");
}
// Begins to copy multiples of 16 bytes from global to shared memory, by the copy engine: one thread calls it. Products
// see what has come without publish_to_products().
SHARDIT_PTX void copy_bulk(void* to, const void* from, uint32_t bytes, Barrier& arrives_at) {
  asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(
                   shared_address(to)),
               "l"(from), "r"(bytes), "r"(shared_address(&arrives_at))
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
  unsigned columns;
  const uint32_t* a_registers;  // or null
  SharedOperand a, b;
  Stored left, right;
};
using Products = std::deque<std::vector<Product>>;
inline Products& products_of_this_thread() {
  static thread_local std::unordered_map<const simt::Coordinates*, Products> products;
  const simt::Coordinates* const here = simt::here;  // gcc's sanitizer takes a thread's variable for null
  Products& mine = products[here];
  if (mine.empty()) mine.emplace_back();
  return mine;
}

inline uint32_t shared_offset(const void* p) {
  const auto offset = static_cast<const char*>(p) - static_cast<const char*>(simt::dynamic_shared());
  if (offset < 0 || offset % 16 != 0)
    throw simt::Error("an operand in shared memory does not begin at a multiple of 16 bytes");
  return static_cast<uint32_t>(offset);
}

// Of an operand, what stands at `k` along K and `x` across it, as the hardware finds it. `along`: 16 contiguous
// bytes run along K.
inline float element(SharedOperand operand, bool along, unsigned k, unsigned x) {
  const uint64_t d = operand.descriptor;
  const uint64_t matrix = 16 * ((d & 0x3fff) + k / 8 * (d >> 16 & 0x3fff) + x / 8 * (d >> 32 & 0x3fff));
  const unsigned within = along ? x % 8 * 8 + k % 8 : k % 8 * 8 + x % 8;
  BF16 number;
  std::memcpy(&number, static_cast<const char*>(simt::dynamic_shared()) + matrix + 2 * within, sizeof number);
  return static_cast<float>(number);
}

// Rows g and g + 8 of a warp's 16 of A.
using LeftRows = std::array<std::array<float, 16>, 2>;
inline LeftRows left_rows_in_registers(const Product& p) {
  simt::Words<4> mine;
  std::memcpy(mine.data(), p.a_registers, sizeof mine);
  const auto all = simt::exchange(mine);
  LeftRows a;
  for (unsigned row = 0; row < 2; ++row)
    for (unsigned k = 0; k < 16; k += 2) {
      const uint32_t pair = all[simt::lane_id() / 4 * 4 + k / 2 % 4][k / 8 * 2 + row];
      a[row][k] = low_of(pair), a[row][k + 1] = high_of(pair);
    }
  return a;
}
inline LeftRows left_rows_in_memory(const Product& p) {
  const unsigned first = threadIdx.x / 32 % 4 * 16 + simt::lane_id() / 4;
  LeftRows a;
  for (unsigned row = 0; row < 2; ++row)
    for (unsigned k = 0; k < 16; ++k) a[row][k] = element(p.a, p.left == Stored::kRows, k, first + 8 * row);
  return a;
}

// This thread's sums: rows g and g + 8 of its warp's 16.
inline void multiply_add_group(const Product& p) {
  const unsigned t = simt::lane_id() % 4;
  const LeftRows a = p.a_registers ? left_rows_in_registers(p) : left_rows_in_memory(p);
  for (unsigned n = 0; n < p.columns / 8; ++n)
    for (unsigned i = 0; i < 2; ++i)
      for (unsigned k = 0; k < 16; ++k) {
        const float b = element(p.b, p.right == Stored::kColumns, k, 8 * n + 2 * t + i);
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
inline void end_phase(BarrierState& state) { state.missing = state.count, ++state.ended; }

// What a phase of a barrier still needs when all threads have arrived. Its copies are done as late as they may be, when
// a thread waits.
struct Expected {
  uint32_t bytes = 0;
  struct Copy {
    void* to;
    const void* from;
    uint32_t bytes;
  };
  std::vector<Copy> copies;
};
inline Expected& expected_by(const Barrier& barrier) {
  static thread_local std::unordered_map<const Barrier*, Expected> expected;
  return expected[&barrier];
}
inline void receive(Expected& expected) {
  uint32_t bytes = 0;
  for (const Expected::Copy& copy : expected.copies) bytes += copy.bytes;
  if (bytes != expected.bytes)
    throw simt::Error("copies of " + std::to_string(bytes) + " bytes arrive at a barrier that expects " +
                      std::to_string(expected.bytes));
  for (const Expected::Copy& copy : expected.copies) std::memcpy(copy.to, copy.from, copy.bytes);
  expected = {};
}

}  // namespace twin

SHARDIT_PTX SharedOperand shared_operand(const void* first, uint32_t along, uint32_t across) {
  if (along % 16 != 0 || across % 16 != 0)
    throw simt::Error("matrices of an operand lie no multiple of 16 bytes apart");
  return {twin::shared_offset(first) / 16 | uint64_t{along / 16} << 16 | uint64_t{across / 16} << 32};
}
SHARDIT_PTX SharedOperand advance(SharedOperand x, uint32_t bytes) { return {x.descriptor + bytes / 16}; }
template <Stored kRight, size_t kTiles>
SHARDIT_PTX void multiply_add_group(float (&c)[kTiles][4], const uint32_t (&a)[4], SharedOperand b) {
  twin::products_of_this_thread().back().push_back({c, 8 * kTiles, a, {}, b, Stored::kRows, kRight});
}
template <Stored kLeft, Stored kRight, size_t kTiles>
SHARDIT_PTX void multiply_add_group(float (&c)[kTiles][4], SharedOperand a, SharedOperand b) {
  twin::products_of_this_thread().back().push_back({c, 8 * kTiles, nullptr, a, b, kLeft, kRight});
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
template <int> SHARDIT_PTX void shrink_registers_to() {}
template <int> SHARDIT_PTX void grow_registers_to() {}

SHARDIT_PTX void begin_barrier(Barrier& barrier, uint32_t count) {
  barrier.word =
      std::bit_cast<uint64_t>(twin::BarrierState{static_cast<uint16_t>(count), static_cast<uint16_t>(count), 0});
  twin::expected_by(barrier) = {};
}
SHARDIT_PTX void arrive(Barrier& barrier) {
  auto state = twin::state_of(barrier);
  if (state.missing == 0) throw simt::Error("a thread arrives at a barrier whose phase waits for copies alone");
  if (--state.missing == 0 && twin::expected_by(barrier).bytes == 0) twin::end_phase(state);
  barrier.word = std::bit_cast<uint64_t>(state);
}
SHARDIT_PTX void arrive_expecting(Barrier& barrier, uint32_t bytes) {
  twin::expected_by(barrier).bytes += bytes;
  arrive(barrier);
}
SHARDIT_PTX void copy_bulk(void* to, const void* from, uint32_t bytes, Barrier& arrives_at) {
  if ((reinterpret_cast<uintptr_t>(to) | reinterpret_cast<uintptr_t>(from) | bytes) % 16 != 0)
    throw simt::Error("a copy of the copy engine is not of aligned pieces of 16 bytes");
  twin::shared_offset(to);
  twin::expected_by(arrives_at).copies.push_back({to, from, bytes});
}
SHARDIT_PTX void wait(Barrier& barrier, int phase, simt::Where where = simt::Where::current()) {
  const auto ended = [&] {
    auto state = twin::state_of(barrier);
    if (state.missing == 0) {
      twin::receive(twin::expected_by(barrier));
      twin::end_phase(state);
      barrier.word = std::bit_cast<uint64_t>(state);
    }
    return state.ended;
  };
  simt::wait_until([&] { return ended() > static_cast<uint32_t>(phase); }, where);
  if (ended() > static_cast<uint32_t>(phase) + 1) throw simt::Error("a barrier's next phase ended before this wait");
}
SHARDIT_PTX void store_matrices(const uint32_t (&r)[4], void* row) {
  twin::shared_offset(row);
  const auto rows = twin::rows_of_lanes(row);
  for (unsigned k = 0; k < 4; ++k)
    std::memcpy(rows[8 * k + simt::lane_id() / 4] + simt::lane_id() % 4 * 4, &r[k], sizeof r[k]);
}

#endif

}  // namespace shardit::ptx

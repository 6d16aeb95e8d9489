// Warp-wide matrix instructions of sm_80 and later, and what feeds them: inline PTX under nvcc, elsewhere a scalar twin
// of each for the SIMT runner. All 32 lanes of a warp call a function together.
//
// Fragments, with g = lane / 4, t = lane % 4; a register holds two bf16, the lower column in its lower half:
//   A 16 x 16   a[0] (g, 2t)  a[1] (g + 8, 2t)  a[2] (g, 2t + 8)  a[3] (g + 8, 2t + 8)
//   B 16 x 8    b[0] (2t, g)  b[1] (2t + 8, g), the two of a register in one column
//   C 16 x 8    c[0] (g, 2t)  c[1] (g, 2t + 1)  c[2] (g + 8, 2t)  c[3] (g + 8, 2t + 1), fp32
// With 8 in place of 16 columns of A: a[0], a[1] and b[0].
#pragma once

#include "core/ptx.h"

#if !defined(__CUDACC__)
#include <array>
#include <deque>
#include <unordered_map>
#include <utility>
#include <vector>
#endif

#if defined(__CUDACC__)
#define SHARDIT_UNROLL _Pragma("unroll")
#define SHARDIT_KEEP_LOOP _Pragma("unroll 1")
#else
#define SHARDIT_UNROLL
#define SHARDIT_KEEP_LOOP
#endif

namespace shardit::ptx {

// The float with these bits.
SHARDIT_HOST_DEVICE float word_as_float(uint32_t word) {
  float x;
  memcpy(&x, &word, sizeof x);
  return x;
}

// The numbers of a pair of bf16 in one register.
SHARDIT_HOST_DEVICE float low_of(uint32_t pair) { return word_as_float(pair << 16); }
SHARDIT_HOST_DEVICE float high_of(uint32_t pair) { return word_as_float(pair & 0xffff0000u); }

struct alignas(16) Chunk {  // what one asynchronous copy moves: eight bf16
  uint32_t words[4];
};

#if defined(__CUDACC__)

SHARDIT_PTX uint32_t shared_address(const void* p) { return static_cast<uint32_t>(__cvta_generic_to_shared(p)); }

// c += a b.
SHARDIT_PTX void multiply_add(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// c += a b with eight columns of a.
SHARDIT_PTX void multiply_add_8(float (&c)[4], const uint32_t (&a)[2], uint32_t b) {
  asm("mma.sync.aligned.m16n8k8.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(b));
}

// Matrices of 8 x 8 bf16 from shared memory: lane 8 k + r brings the address of row r of matrix k, 16 bytes aligned.
// Register k gets (g, 2t) and (g, 2t + 1) of matrix k; transposed, (2t, g) and (2t + 1, g).
SHARDIT_PTX void load_matrices(uint32_t (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(row)));
}
SHARDIT_PTX void load_matrices_transposed(uint32_t (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(row)));
}
SHARDIT_PTX void load_matrices_transposed(uint32_t (&r)[2], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0,%1}, [%2];"
               : "=r"(r[0]), "=r"(r[1])
               : "r"(shared_address(row)));
}

// 16 bytes from global to shared memory; done when wait_for_copies has returned, for this thread.
SHARDIT_PTX void copy_async(void* to, const void* from) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(shared_address(to)), "l"(from) : "memory");
}
SHARDIT_PTX void end_copy_group() { asm volatile("cp.async.commit_group;" ::: "memory"); }
// Until at most kPending of the last groups are under way.
template <int kPending> SHARDIT_PTX void wait_for_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
}

#else

namespace twin {

// Columns 2t and 2t + 1 of row g of A times column g of B: registers of the lanes that hold them.
template <size_t kA, size_t kB> void multiply_add(float (&c)[4], const uint32_t (&a)[kA], const uint32_t (&b)[kB]) {
  simt::Words<kA + kB> mine;
  std::memcpy(mine.data(), a, sizeof a);
  std::memcpy(mine.data() + kA, b, sizeof b);
  const auto all = simt::exchange(mine);
  const unsigned g = simt::lane_id() / 4, t = simt::lane_id() % 4;
  for (unsigned i = 0; i < 4; ++i) {
    const unsigned column = 2 * t + i % 2;
    float sum = c[i];
    for (unsigned k = 0; k < kB; ++k)
      for (unsigned l = 0; l < 4; ++l) {
        const uint32_t x = all[4 * g + l][2 * k + i / 2], y = all[4 * column + l][kA + k];
        sum += low_of(x) * low_of(y);
        sum += high_of(x) * high_of(y);
      }
    c[i] = sum;
  }
}

// The rows of matrices in memory that a warp's lanes bring.
inline std::array<char*, simt::kLanes> rows_of_lanes(const void* row) {
  const auto address = reinterpret_cast<uintptr_t>(row);
  if (address % 16 != 0) throw simt::Error("a row of a matrix does not begin at a multiple of 16 bytes");
  const auto words =
      simt::exchange(simt::Words<2>{static_cast<uint32_t>(address), static_cast<uint32_t>(address >> 32)});
  std::array<char*, simt::kLanes> rows;
  for (size_t lane = 0; lane < rows.size(); ++lane)
    rows[lane] = reinterpret_cast<char*>(words[lane][0] | uint64_t{words[lane][1]} << 32);
  return rows;
}

template <size_t kCount> void load_matrices(uint32_t (&r)[kCount], const void* row, bool transposed) {
  const auto rows = rows_of_lanes(row);
  const auto element = [&](size_t matrix, unsigned i, unsigned j) {
    uint16_t bits;
    std::memcpy(&bits, rows[8 * matrix + i] + 2 * j, sizeof bits);
    return uint32_t{bits};
  };
  const unsigned g = simt::lane_id() / 4, t = simt::lane_id() % 4;
  for (size_t k = 0; k < kCount; ++k)
    r[k] = transposed ? element(k, 2 * t, g) | element(k, 2 * t + 1, g) << 16
                      : element(k, g, 2 * t) | element(k, g, 2 * t + 1) << 16;
  __syncwarp();  // nobody writes to the rows before all have read
}

// Groups of copies under way, the open one last: a copy is done as late as it may be, when its thread waits for it.
using Copies = std::deque<std::vector<std::pair<void*, const void*>>>;
inline Copies& copies_of_this_thread() {
  static thread_local std::unordered_map<const simt::Coordinates*, Copies> copies;
  const simt::Coordinates* const here = simt::here;  // gcc's sanitizer takes a thread's variable for null
  Copies& mine = copies[here];
  if (mine.empty()) mine.emplace_back();
  return mine;
}

}  // namespace twin

SHARDIT_PTX void multiply_add(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  const uint32_t b[2] = {b0, b1};
  twin::multiply_add(c, a, b);
}
SHARDIT_PTX void multiply_add_8(float (&c)[4], const uint32_t (&a)[2], uint32_t b) {
  const uint32_t bs[1] = {b};
  twin::multiply_add(c, a, bs);
}
SHARDIT_PTX void load_matrices(uint32_t (&r)[4], const void* row) { twin::load_matrices(r, row, false); }
SHARDIT_PTX void load_matrices_transposed(uint32_t (&r)[4], const void* row) { twin::load_matrices(r, row, true); }
SHARDIT_PTX void load_matrices_transposed(uint32_t (&r)[2], const void* row) { twin::load_matrices(r, row, true); }
SHARDIT_PTX void copy_async(void* to, const void* from) {
  if ((reinterpret_cast<uintptr_t>(to) | reinterpret_cast<uintptr_t>(from)) % 16 != 0)
    throw simt::Error("an asynchronous copy of 16 bytes is not aligned to them");
  twin::copies_of_this_thread().back().emplace_back(to, from);
}
SHARDIT_PTX void end_copy_group() { twin::copies_of_this_thread().emplace_back(); }
template <int kPending> SHARDIT_PTX void wait_for_copies() {
  auto& groups = twin::copies_of_this_thread();
  for (; groups.size() > kPending + 1; groups.pop_front())
    for (const auto& [to, from] : groups.front()) std::memcpy(to, from, sizeof(Chunk));
}

#endif

}  // namespace shardit::ptx

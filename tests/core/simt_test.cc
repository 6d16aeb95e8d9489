// The CPU's runner of device kernels: it does what a GPU does where that is defined, and says what a kernel does wrong.
#include "core/cuda.h"

#include <gtest/gtest.h>

#include <cstring>
#include <numeric>
#include <set>

#include "core/ptx_warpgroup.h"

namespace shardit {
namespace {

// The message of the error that a launch throws; empty if it throws none.
template <typename Kernel> std::string error_of(dim3 block, Kernel&& kernel, size_t shared_bytes = 0) {
  try {
    simt::run(1, block, shared_bytes, kernel);
  } catch (const simt::Error& e) {
    return e.what();
  }
  return "";
}

void expect_mentions(const std::string& text, std::initializer_list<const char*> parts) {
  for (const char* part : parts) EXPECT_NE(text.find(part), std::string::npos) << part << " is not in: " << text;
}

__global__ void where_am_i(int* seen, int x_extent) {
  const dim3 at(blockIdx.x * blockDim.x + threadIdx.x, blockIdx.y * blockDim.y + threadIdx.y,
                blockIdx.z * blockDim.z + threadIdx.z);
  seen[(at.z * gridDim.y * blockDim.y + at.y) * x_extent + at.x] += 1;
}

TEST(Simt, EveryThreadOfTheGridRunsOnce) {
  for (uint64_t seed : {0, 1, 2}) {
    const simt::Order order(seed);
    std::vector<int> seen(2 * 3 * 4 * 5 * 6 * 7);
    launch(where_am_i, dim3(2, 3, 4), dim3(5, 6, 7), 0, nullptr, seen.data(), 10);
    for (int n : seen) ASSERT_EQ(n, 1);
  }
}

// A tree of sums: through shared memory where `barriers`, otherwise with the barrier left out.
template <bool barriers> __global__ void sum_block(const int* x, int* sum) {
  SHARDIT_SHARED(int, part, [128]);
  part[threadIdx.x] = x[threadIdx.x];
  for (unsigned half = 64; half > 0; half /= 2) {
    if constexpr (barriers) __syncthreads();
    if (threadIdx.x < half) part[threadIdx.x] += part[threadIdx.x + half];
  }
  if (threadIdx.x == 0) *sum = part[0];
}

template <bool barriers> std::set<int> sums_over_orders() {
  std::vector<int> x(128);
  for (int i = 0; i < 128; ++i) x[i] = i;
  std::set<int> sums;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    const simt::Order order(seed);
    int sum = 0;
    launch(sum_block<barriers>, 1, 128, 0, nullptr, x.data(), &sum);
    sums.insert(sum);
  }
  return sums;
}

TEST(Simt, BarriersOrderWhatThreadsDo) { EXPECT_EQ(sums_over_orders<true>(), std::set<int>{127 * 64}); }
TEST(Simt, DrawnOrdersShowAMissingBarrier) { EXPECT_GT(sums_over_orders<false>().size(), 1u); }

__global__ void write_order(int* order, int* next) { order[(*next)++] = static_cast<int>(threadIdx.x); }

TEST(Simt, SeedsGiveOrdersOfWarpsAndLanes) {
  const auto order_of = [](uint64_t seed) {
    const simt::Order order(seed);
    std::vector<int> threads(64);
    int next = 0;
    launch(write_order, 1, 64, 0, nullptr, threads.data(), &next);
    return threads;
  };
  std::vector<int> ascending(64);
  std::iota(ascending.begin(), ascending.end(), 0);
  EXPECT_EQ(order_of(0), ascending);
  EXPECT_EQ(order_of(5), order_of(5));
  EXPECT_NE(order_of(5), order_of(6));
  std::set<bool> second_warp_first;
  for (uint64_t seed = 1; seed < 20; ++seed) second_warp_first.insert(order_of(seed)[0] >= 32);
  EXPECT_EQ(second_warp_first.size(), 2u);
}

// Shared memory as a block finds it; then it leaves ones there.
__global__ void look_and_write(uint32_t* found) {
  SHARDIT_SHARED(uint32_t, fixed, [2][4]);
  SHARDIT_DYNAMIC_SHARED(uint32_t, dynamic);
  found[2 * blockIdx.x] = fixed[1][3];
  found[2 * blockIdx.x + 1] = dynamic[7];
  fixed[1][3] = dynamic[7] = 1;
}

TEST(Simt, SharedMemoryIsPoisonedBeforeEachBlock) {
  uint32_t found[6] = {};
  launch(look_and_write, 3, 1, 32, nullptr, found);
  for (uint32_t word : found) EXPECT_EQ(word, 0xffffffffu);
}

TEST(Simt, WritesPastSharedArraysAreSeen) {
  const auto beyond = [] {
    SHARDIT_SHARED(float, fixed, [8]);
    static_cast<volatile float*>(fixed)[8 + threadIdx.x] = 0;
  };
  expect_mentions(error_of(1, beyond), {"past the end"});
  const auto beyond_dynamic = [] {
    SHARDIT_DYNAMIC_SHARED(unsigned char, bytes);
    bytes[100] = 0;
  };
  expect_mentions(error_of(1, beyond_dynamic, 100), {"past the end"});
}

__global__ void shuffles(int* out) {
  const int lane = static_cast<int>(threadIdx.x);
  int* to = out + 8 * lane;
  to[0] = __shfl_xor_sync(0xffffffffu, lane, 5);
  to[1] = __shfl_down_sync(0xffffffffu, lane, 30);
  to[2] = __shfl_up_sync(0xffffffffu, lane, 3);
  to[3] = __shfl_sync(0xffffffffu, lane, 9);
  to[4] = __shfl_sync(0xffffffffu, lane, 2, 8);
  to[5] = static_cast<int>(__ballot_sync(0xffffffffu, lane % 3 == 0));
  to[6] = 0;
  if (lane >= 16)
    to[6] = static_cast<int>(__shfl_xor_sync(0xffff0000u, static_cast<double>(lane), 1));
  else if (lane < 4)
    to[6] = __shfl_down_sync(0xfu, lane, 1, 4);
  __syncwarp();
  to[7] = __all_sync(0xffffffffu, lane < 32) + 2 * __any_sync(0xffffffffu, lane == 31) + 4 * __any_sync(~0u, lane > 31);
}

TEST(Simt, WarpOperationsGiveWhatCudaDefines) {
  for (uint64_t seed : {0, 3, 4}) {
    const simt::Order order(seed);
    int out[32][8];
    launch(shuffles, 1, 32, 0, nullptr, out[0]);
    for (int l = 0; l < 32; ++l) {
      const int partial = l >= 16 ? l ^ 1 : l < 3 ? l + 1 : l == 3 ? 3 : 0;
      const int expected[] = {l ^ 5, l < 2 ? l + 30 : l, l < 3 ? l : l - 3, 9, l / 8 * 8 + 2, 0x49249249, partial, 3};
      for (int i = 0; i < 8; ++i) EXPECT_EQ(out[l][i], expected[i]) << "lane " << l << ", operation " << i;
    }
  }
}

TEST(Simt, AnExchangeShowsTheWordsOfAllLanes) {
  const simt::Order order(1);
  const auto kernel = [] {
    for (uint32_t round = 0; round < 3; ++round) {
      const auto all = simt::exchange(simt::Words<2>{threadIdx.x + round, 7});
      for (uint32_t l = 0; l < 32; ++l)
        if (all[l] != simt::Words<2>{l + round, 7}) throw std::runtime_error("other words");
      const auto half = simt::exchange(simt::Words<1>{threadIdx.x}, threadIdx.x < 16 ? 0xffffu : 0xffff0000u);
      if (half[threadIdx.x ^ 1][0] != (threadIdx.x ^ 1) || half[threadIdx.x ^ 16][0] != 0)
        throw std::runtime_error("words from outside the mask");
    }
  };
  simt::run(1, 32, 0, kernel);
}

TEST(Simt, DivergentBarriersAreToldWithTheirPlaces) {
  const auto one_leaves = [] {
    if (threadIdx.x == 5) return;
    __syncthreads();
  };
  expect_mentions(error_of(64, one_leaves), {"in vain", "63 at the barrier simt_test.cc:", "1 returned (thread 5)"});
  const auto two_places = [] {
    if (threadIdx.x < 32)
      __syncthreads();
    else
      __syncthreads();
  };
  expect_mentions(error_of(64, two_places), {"32 at the barrier", "(thread 0)", "(thread 32)"});
  const auto barrier_and_shuffle = [] {
    if (threadIdx.x % 32 == 1)
      __syncthreads();
    else
      __shfl_xor_sync(0xffffffffu, 1, 1);
  };
  expect_mentions(error_of(32, barrier_and_shuffle), {"31 at the warp operation", "of lanes 0xffffffff"});
}

TEST(Simt, LanesOutOfRangeAreErrors) {
  expect_mentions(error_of(32, [] { __shfl_sync(0xffffffffu, 1, 32); }), {"lane 32 of 32"});
  expect_mentions(error_of(32, [] { __shfl_xor_sync(0xffffffffu, 1, 4, 4); }), {"of 4"});
  expect_mentions(error_of(16, [] { __syncwarp(); }), {"names lane 16, which the block does not have"});
  expect_mentions(error_of(32, [] { __syncwarp(2); }), {"lane 0 is not in its own mask 0x2"});
  const auto from_outside = [] {
    if (threadIdx.x < 16) __shfl_xor_sync(0xffffu, 1, 16);
  };
  expect_mentions(error_of(32, from_outside), {"reads lane 16, which its mask 0xffff does not name"});
}

TEST(Simt, ARefusedLaunchSaysWhy) {
  expect_mentions(error_of(1025, [] {}), {"(1025, 1, 1)", "cannot be launched"});
  expect_mentions(error_of(
                      1, [] {}, 228 * 1024),
                  {"233472 bytes", "at most"});
}

TEST(Simt, WhatAKernelThrowsArrivesAndTheNextLaunchIsSound) {
  const auto throws = [] {
    __syncthreads();
    if (threadIdx.x == 40) throw std::runtime_error("from thread 40");
    __syncthreads();
  };
  EXPECT_THROW(simt::run(1, 64, 0, throws), std::runtime_error);
  EXPECT_EQ(sums_over_orders<true>(), std::set<int>{127 * 64});
}

TEST(Ptx, PacksAsBf16IsRounded) {
  EXPECT_EQ(ptx::pack_bf16(1.0f, -2.0f), 0xc0003f80u);
  EXPECT_EQ(ptx::pack_bf16(1.00390625f, 1.01171875f), 0x3f823f80u);  // ties go to the even neighbour
  EXPECT_EQ(ptx::pack_bf16(std::nanf(""), -std::nanf("")), 0x7fff7fffu);
}

// One warp fills a cell again and again, another reads it: only the barriers keep them together.
TEST(PtxBarrier, HandsACellFromWarpToWarp) {
  const auto hand_over = [](std::vector<int>* seen) {
    SHARDIT_DYNAMIC_SHARED(ptx::Barrier, barriers);
    SHARDIT_SHARED(int, cell, [1]);
    ptx::Barrier &full = barriers[0], &free = barriers[1];
    if (threadIdx.x == 0) ptx::begin_barrier(full, 1), ptx::begin_barrier(free, 32);
    __syncthreads();
    for (int i = 0; i < 5; ++i) {
      if (threadIdx.x == 0) {
        if (i > 0) ptx::wait(free, i - 1);
        cell[0] = i;
        ptx::arrive(full);
      }
      if (threadIdx.x < 32) continue;
      ptx::wait(full, i);
      if (threadIdx.x == 40) seen->push_back(cell[0]);
      ptx::arrive(free);
    }
  };
  for (uint64_t seed = 0; seed < 10; ++seed) {
    const simt::Order order(seed);
    std::vector<int> seen;
    simt::run(1, 64, 2 * sizeof(ptx::Barrier), [&] { hand_over(&seen); });
    EXPECT_EQ(seen, (std::vector<int>{0, 1, 2, 3, 4}));
  }
}

TEST(PtxBarrier, AWaitInVainIsToldWithItsPlace) {
  const auto nobody_arrives = [] {
    SHARDIT_DYNAMIC_SHARED(ptx::Barrier, barrier);
    if (threadIdx.x == 0) ptx::begin_barrier(*barrier, 1);
    __syncthreads();
    ptx::wait(*barrier, 0);
  };
  expect_mentions(error_of(64, nobody_arrives, sizeof(ptx::Barrier)), {"in vain", "64 at the wait simt_test.cc:"});
}

// Two copies of 128 bytes that arrive at a barrier which expects `bytes`; what each of 64 threads finds after its wait.
struct CopyMemory {
  alignas(16) uint32_t numbers[64];
  ptx::Barrier arrived;
};
void copy_to_all(const uint32_t* from, uint32_t bytes, uint32_t* found) {
  SHARDIT_DYNAMIC_SHARED(CopyMemory, memory);
  if (threadIdx.x == 0) ptx::begin_barrier(memory->arrived, 1);
  __syncthreads();
  if (threadIdx.x == 40) {
    ptx::arrive_expecting(memory->arrived, bytes);
    for (int half : {1, 0}) ptx::copy_bulk(memory->numbers + 32 * half, from + 32 * half, 128, memory->arrived);
  }
  ptx::wait(memory->arrived, 0);
  found[threadIdx.x] = memory->numbers[threadIdx.x];
}

TEST(PtxBarrier, APhaseNeedsTheBytesThatItExpects) {
  alignas(16) uint32_t from[64];
  std::iota(from, from + 64, 7u);
  for (uint64_t seed = 0; seed < 5; ++seed) {
    const simt::Order order(seed);
    std::vector<uint32_t> found(64);
    simt::run(1, 64, sizeof(CopyMemory), [&] { copy_to_all(from, 256, found.data()); });
    EXPECT_EQ(found, std::vector<uint32_t>(from, from + 64));
  }
  std::vector<uint32_t> found(64);
  const auto error = [&](const uint32_t* first, uint32_t bytes) {
    return error_of(
        64, [&] { copy_to_all(first, bytes, found.data()); }, sizeof(CopyMemory));
  };
  expect_mentions(error(from, 384), {"copies of 256 bytes", "expects 384"});
  expect_mentions(error(from + 1, 256), {"not of aligned pieces of 16 bytes"});
}

// Register k of lane l, to row l / 4 of matrix k and back.
TEST(Ptx, MatricesAreStoredAsTheyAreLoaded) {
  const auto there_and_back = [](uint32_t* stored, uint32_t* loaded) {
    SHARDIT_DYNAMIC_SHARED(ptx::Chunk, rows);
    uint32_t there[4], back[4];
    for (uint32_t k = 0; k < 4; ++k) there[k] = 100 * k + threadIdx.x;
    ptx::store_matrices(there, rows + threadIdx.x);
    __syncwarp();
    ptx::load_matrices(back, rows + threadIdx.x);
    std::memcpy(loaded + 4 * threadIdx.x, back, sizeof back);
    std::memcpy(stored + 4 * threadIdx.x, rows + threadIdx.x, sizeof(ptx::Chunk));
  };
  std::vector<uint32_t> stored(128), loaded(128);
  simt::run(1, 32, 32 * sizeof(ptx::Chunk), [&] { there_and_back(stored.data(), loaded.data()); });
  for (uint32_t lane = 0; lane < 32; ++lane)
    for (uint32_t k = 0; k < 4; ++k) {
      EXPECT_EQ(loaded[4 * lane + k], 100 * k + lane);
      EXPECT_EQ(stored[4 * lane + k], 100 * (lane / 8) + lane % 8 * 4 + k);  // row `lane` of all matrices
    }
}

// 64 x 16 times 16 x 64 of small integers, whose sums are exact.
float left(int row, int k) { return static_cast<float>(row + k); }
float right(int k, int n) { return static_cast<float>(k - n % 5); }

// An operand in shared memory, with gaps between its 8 x 8 matrices. `along`: 16 contiguous bytes run along K.
struct Operand {
  static constexpr int kMatrix = 64, kAlong = 10 * kMatrix, kAcross = kMatrix + 8;  // distances, in numbers
  static constexpr int kNumbers = 2 * kAlong;
  BF16* first;

  void set(int k, int x, bool along, float value) {
    first[k / 8 * kAlong + x / 8 * kAcross + (along ? x % 8 * 8 + k % 8 : k % 8 * 8 + x % 8)] = BF16(value);
  }
  ptx::SharedOperand named() const { return ptx::shared_operand(first, 2 * kAlong, 2 * kAcross); }
};

using Stored = ptx::Stored;
template <bool kInRegisters, Stored kLeft, Stored kRight> void multiply_group(float* c) {
  SHARDIT_DYNAMIC_SHARED(BF16, memory);
  Operand a{memory}, b{memory + Operand::kNumbers};
  const int thread = threadIdx.x, lane = thread % 32, row = thread / 32 * 16 + lane / 4;
  for (int i = thread; i < 16 * 64; i += 128) {
    const int k = i / 64, x = i % 64;
    a.set(k, x, kLeft == Stored::kRows, left(x, k));
    b.set(k, x, kRight == Stored::kColumns, right(k, x));
  }
  ptx::publish_to_products();
  __syncthreads();
  uint32_t fragment[4];
  for (int i = 0; i < 4; ++i) {
    const int k = lane % 4 * 2 + i / 2 * 8, at = row + i % 2 * 8;
    fragment[i] = ptx::pack_bf16(left(at, k), left(at, k + 1));
  }
  float sums[8][4] = {};
  ptx::begin_products(sums);
  if constexpr (kInRegisters)
    ptx::multiply_add_group<kRight>(sums, fragment, b.named());
  else
    ptx::multiply_add_group<kLeft, kRight>(sums, a.named(), b.named());
  ptx::end_product_group();
  ptx::wait_for_products<0>();
  for (int n = 0; n < 8; ++n)
    for (int i = 0; i < 4; ++i) c[(row + i / 2 * 8) * 64 + 8 * n + lane % 4 * 2 + i % 2] = sums[n][i];
}

template <bool kInRegisters, Stored kLeft, Stored kRight> std::vector<float> product_of_group() {
  std::vector<float> c(64 * 64);
  simt::run(1, 128, 4 * Operand::kNumbers, [&] { multiply_group<kInRegisters, kLeft, kRight>(c.data()); });
  return c;
}

TEST(PtxWarpgroup, MultipliesWhatItsDescriptorsName) {
  std::vector<float> expected(64 * 64);
  for (int row = 0; row < 64; ++row)
    for (int n = 0; n < 64; ++n)
      for (int k = 0; k < 16; ++k) expected[row * 64 + n] += left(row, k) * right(k, n);
  constexpr auto kRows = Stored::kRows, kColumns = Stored::kColumns;
  EXPECT_EQ((product_of_group<true, kRows, kColumns>()), expected);
  EXPECT_EQ((product_of_group<true, kRows, kRows>()), expected);
  EXPECT_EQ((product_of_group<false, kRows, kColumns>()), expected);
  EXPECT_EQ((product_of_group<false, kColumns, kRows>()), expected);
}

}  // namespace
}  // namespace shardit

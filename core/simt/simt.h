// CUDA kernels on the CPU: what a kernel's source needs where nvcc does not compile it. core/cuda.h includes it then.
//
// Every thread of a block is a fiber. It runs until it waits at a barrier or meets other lanes in a warp operation, so
// what happens between two of those happens in an order of the runner's choice: ascending, or drawn from a seed, thread
// by thread and block by block. A kernel that needs more order than its barriers give shows itself under some seed. So
// does one that reads shared memory that nobody wrote: all bits of it are set when a block begins.
//
// Stricter than a GPU, since what is allowed there by luck is a mistake in a kernel: a barrier and a warp operation are
// met by all threads (all lanes of the mask) at one place of the source, none has returned before, and a shuffle reads
// only lanes that its mask names. What breaks that throws simt::Error with the places where threads stand.
//
// No memory model: fibers interleave only where they wait. One launch at a time; others wait for their turn.
#pragma once

#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <source_location>
#include <stdexcept>
#include <string>

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
  constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};

namespace shardit::simt {

struct Error : std::logic_error {
  explicit Error(const std::string& message) : std::logic_error("simt: " + message) {}
};

using Where = std::source_location;
inline constexpr unsigned kLanes = 32;
inline constexpr uint32_t kAllLanes = 0xffffffffu;

// The kernel's launch, as the running thread sees it.
struct Coordinates {
  dim3 thread, block, block_dim, grid_dim;
};
extern constinit thread_local const Coordinates* here;

// Runs `kernel` once for each thread of the grid. Throws Error, or what the kernel throws.
void run(dim3 grid, dim3 block, size_t shared_bytes, const std::function<void()>& kernel);

// While it lives, launches run threads and blocks in orders drawn from `seed`; without one, and for 0, in ascending
// order.
class Order {
 public:
  explicit Order(uint64_t seed);
  ~Order();
  Order(const Order&) = delete;

 private:
  uint64_t before_;
};

// ---- what a running thread calls ---------------------------------------------------------------------------------

void block_barrier(const Where& where);
void warp_barrier(uint32_t mask, const Where& where);
void wait_until(const std::function<bool()>& done, const Where& where);  // what other threads bring about
uint32_t ballot(uint32_t mask, bool vote, const Where& where);
uint64_t shuffle(uint32_t mask, uint64_t word, unsigned from, const Where& where);  // lane `from`'s word

// The block's dynamic shared memory, and the variable that `tag` names (an address of its own for each declaration).
void* dynamic_shared();
void* static_shared(const void* tag, size_t bytes, size_t alignment);

template <typename T, typename Tag> T& shared_variable(Tag) {
  static const char tag = 0;
  return *static_cast<T*>(static_shared(&tag, sizeof(T), alignof(T)));
}

// Shows `words` to the lanes of the warp and returns where each lane's stand, null for lanes outside the mask; they
// stay until leave_exchange. Use exchange().
std::array<const uint32_t*, kLanes> enter_exchange(uint32_t mask, const uint32_t* words, const Where& where);
void leave_exchange(uint32_t mask, const Where& where);

// For twins of warp-wide instructions: every lane gives N words and gets those of all lanes, zeros from lanes outside
// the mask.
template <size_t N> using Words = std::array<uint32_t, N>;
template <size_t N>
std::array<Words<N>, kLanes> exchange(const Words<N>& mine, uint32_t mask = kAllLanes, Where where = Where::current()) {
  std::array<Words<N>, kLanes> all{};
  const auto shown = enter_exchange(mask, mine.data(), where);
  for (unsigned lane = 0; lane < kLanes; ++lane)
    if (shown[lane]) std::memcpy(all[lane].data(), shown[lane], sizeof mine);
  leave_exchange(mask, where);
  return all;
}

unsigned lane_id();

// The lane that a shuffle of `width` lanes reads, where the sum of lane and offset may leave its segment: then the own.
inline unsigned lane_at(int offset, unsigned width) {
  const int lane = static_cast<int>(lane_id()), first = lane & ~static_cast<int>(width - 1), to = lane + offset;
  return static_cast<unsigned>(to >= first && to < first + static_cast<int>(width) ? to : lane);
}
unsigned lane_of_segment(int lane, unsigned width);  // of the own segment; throws on a lane outside it

template <typename T> T shuffle_from(uint32_t mask, T value, unsigned from, const Where& where) {
  static_assert(sizeof(T) <= sizeof(uint64_t), "a shuffle moves at most 8 bytes");
  uint64_t word = 0;
  std::memcpy(&word, &value, sizeof value);
  word = shuffle(mask, word, from, where);
  std::memcpy(&value, &word, sizeof value);
  return value;
}

}  // namespace shardit::simt

// ---- the language ------------------------------------------------------------------------------------------------

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)

#define threadIdx (::shardit::simt::here->thread)
#define blockIdx (::shardit::simt::here->block)
#define blockDim (::shardit::simt::here->block_dim)
#define gridDim (::shardit::simt::here->grid_dim)

using SimtWhere = shardit::simt::Where;
inline void __syncthreads(SimtWhere where = SimtWhere::current()) { shardit::simt::block_barrier(where); }
inline void __syncwarp(uint32_t mask = shardit::simt::kAllLanes, SimtWhere where = SimtWhere::current()) {
  shardit::simt::warp_barrier(mask, where);
}
inline uint32_t __ballot_sync(uint32_t mask, bool vote, SimtWhere where = SimtWhere::current()) {
  return shardit::simt::ballot(mask, vote, where);
}
inline bool __any_sync(uint32_t mask, bool vote, SimtWhere where = SimtWhere::current()) {
  return shardit::simt::ballot(mask, vote, where) != 0;
}
inline bool __all_sync(uint32_t mask, bool vote, SimtWhere where = SimtWhere::current()) {
  return shardit::simt::ballot(mask, vote, where) == mask;
}
template <typename T>
T __shfl_sync(uint32_t mask, T value, int lane, int width = 32, SimtWhere where = SimtWhere::current()) {
  return shardit::simt::shuffle_from(mask, value, shardit::simt::lane_of_segment(lane, width), where);
}
template <typename T>
T __shfl_xor_sync(uint32_t mask, T value, int lanes, int width = 32, SimtWhere where = SimtWhere::current()) {
  const int lane = static_cast<int>(shardit::simt::lane_id()) & (width - 1);
  return shardit::simt::shuffle_from(mask, value, shardit::simt::lane_of_segment(lane ^ lanes, width), where);
}
template <typename T>
T __shfl_up_sync(uint32_t mask, T value, int by, int width = 32, SimtWhere where = SimtWhere::current()) {
  return shardit::simt::shuffle_from(mask, value, shardit::simt::lane_at(-by, width), where);
}
template <typename T>
T __shfl_down_sync(uint32_t mask, T value, int by, int width = 32, SimtWhere where = SimtWhere::current()) {
  return shardit::simt::shuffle_from(mask, value, shardit::simt::lane_at(by, width), where);
}

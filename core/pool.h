// The compute threads of one rank. Work arrives as tiles, cut by the work's shape alone; threads take tiles in any
// order, and each tile is computed by one thread, so the number of threads changes speed and never bits.
//
// One `run` at a time, from one caller; the caller works too. Nothing is allocated by `run`.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>
#include <type_traits>
#include <vector>

namespace shardit {

class Pool {
 public:
  // Who computes which tile. kFirstCome: whoever is free. kShuffled, for tests: the caller computes all tiles in an
  // order drawn anew for each run, under thread numbers drawn at random: what no kernel may be able to tell.
  enum class Deal { kFirstCome, kShuffled };

  explicit Pool(int threads, Deal deal = Deal::kFirstCome);  // `threads` >= 1 counts the caller
  ~Pool();
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  int threads() const { return threads_; }

  // Calls body(tile, thread) for every tile in [0, tiles); thread < threads() names the worker's scratch space.
  // Returns when all are done. An exception from a tile is rethrown here.
  template <typename Body> void run(int64_t tiles, Body&& body) {
    using B = std::remove_reference_t<Body>;
    run_erased(
        tiles, [](void* context, int64_t tile, int thread) { (*static_cast<B*>(context))(tile, thread); },
        const_cast<std::remove_const_t<B>*>(&body));
  }

 private:
  using Function = void (*)(void* context, int64_t tile, int thread);
  void run_erased(int64_t tiles, Function function, void* context);
  void work(int thread);
  void take_tiles(int thread);
  void take_shuffled();

  int threads_;
  Deal deal_;
  std::vector<std::thread> workers_;
  std::mutex mutex_;
  std::condition_variable wake_, done_;
  std::atomic<uint64_t> generation_{0};  // counts the calls of run; a worker joins each once
  std::atomic<int> busy_{0};             // workers that have not yet left the current call
  bool stopping_ = false;                // guarded by mutex_
  std::exception_ptr failure_;           // guarded by mutex_

  Function function_ = nullptr;
  void* context_ = nullptr;
  int64_t tiles_ = 0;
  std::atomic<int64_t> next_{0};
};

// The cut of `total` items into tiles of at most `grain`: tile i covers [begin, end).
struct Tile {
  int64_t begin, end;
};
inline int64_t tile_count(int64_t total, int64_t grain) { return (total + grain - 1) / grain; }
inline Tile tile_at(int64_t total, int64_t grain, int64_t i) {
  const int64_t begin = i * grain;
  return {begin, begin + grain < total ? begin + grain : total};
}

}  // namespace shardit

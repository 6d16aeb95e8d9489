#include "core/pool.h"

#include <numeric>
#include <utility>

#include <omp.h>

#include "core/error.h"
#include "core/random.h"

namespace shardit {
namespace {

// Between the kernels of a step the next work arrives within microseconds: spin that long before sleeping.
constexpr int kSpins = 4000;

template <typename Condition> bool spin_until(const Condition& condition) {
  for (int i = 0; i < kSpins; ++i) {
    if (condition()) return true;
    __builtin_ia32_pause();
  }
  return condition();
}

}  // namespace

Pool::Pool(int threads, Deal deal) : threads_(threads), deal_(deal) {
  REQUIRE(threads >= 1, "the thread pool was asked for " + std::to_string(threads) + " threads: expected at least 1");
  omp_set_num_threads(1);  // library calls are single-threaded: parallelism lies above them
  for (int i = 1; i < threads && deal == Deal::kFirstCome; ++i)
    workers_.emplace_back([this, i] {
      omp_set_num_threads(1);
      work(i);
    });
}

Pool::~Pool() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void Pool::run_erased(int64_t tiles, Function function, void* context) {
  function_ = function;
  context_ = context;
  tiles_ = tiles;
  next_.store(0, std::memory_order_relaxed);
  if (deal_ == Deal::kShuffled) {
    take_shuffled();
  } else if (workers_.empty() || tiles <= 1) {
    take_tiles(0);
  } else {
    busy_.store(static_cast<int>(workers_.size()), std::memory_order_relaxed);
    {
      std::lock_guard lock(mutex_);
      generation_.fetch_add(1, std::memory_order_release);
    }
    wake_.notify_all();
    take_tiles(0);
    const auto all_left = [this] { return busy_.load(std::memory_order_acquire) == 0; };
    if (!spin_until(all_left)) {
      std::unique_lock lock(mutex_);
      done_.wait(lock, all_left);
    }
  }
  if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
}

void Pool::take_tiles(int thread) {
  try {
    for (int64_t tile; (tile = next_.fetch_add(1, std::memory_order_relaxed)) < tiles_;)
      function_(context_, tile, thread);
  } catch (...) {
    next_.store(tiles_, std::memory_order_relaxed);  // nobody starts another tile
    std::lock_guard lock(mutex_);
    if (!failure_) failure_ = std::current_exception();
  }
}

// Tiles first, first + stride, first + 2 stride, … modulo their number, which has no divisor in common with the stride.
void Pool::take_shuffled() {
  if (tiles_ == 0) return;
  const uint64_t run = generation_.fetch_add(1, std::memory_order_relaxed);
  const Philox philox(run, Purpose::kSynthetic);
  int64_t stride = integer_at(philox, 0, 0, tiles_) + 1;
  while (std::gcd(stride, tiles_) != 1) ++stride;
  int64_t tile = integer_at(philox, 0, 1, tiles_);
  for (int64_t i = 0; i < tiles_; ++i, tile = (tile + stride) % tiles_)
    function_(context_, tile, static_cast<int>(integer_at(philox, 1, i, threads_)));
}

void Pool::work(int thread) {
  uint64_t seen = 0;
  for (;;) {
    const auto called = [&] { return generation_.load(std::memory_order_acquire) != seen; };
    if (!spin_until(called)) {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [&] { return stopping_ || called(); });
      if (!called()) return;
    }
    ++seen;
    take_tiles(thread);
    if (busy_.fetch_sub(1, std::memory_order_acq_rel) == 1) {
      std::lock_guard lock(mutex_);
      done_.notify_one();
    }
  }
}

}  // namespace shardit

#include "core/simt/simt.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <map>
#include <memory>
#include <mutex>
#include <numeric>
#include <random>
#include <vector>

#include "core/simt/fiber.h"

namespace shardit::simt {

constinit thread_local const Coordinates* here = nullptr;

namespace {

enum class State : uint8_t { kReady, kAtBarrier, kMeeting, kUntil, kReturned };
enum class Meeting : uint8_t { kBarrier, kBallot, kShuffle, kExchange };

// Thrown into threads of a failed block, so that they leave the kernel.
struct Cancelled {};

struct Thread {
  Fiber fiber;
  Coordinates at;
  unsigned index = 0;  // in the block
  State state = State::kReturned;

  // Where it waits, and what it brings and gets there.
  Where where;
  Meeting meeting{};
  uint32_t mask = 0;
  unsigned from = 0;                            // kShuffle: the lane whose word it gets
  bool vote = false;                            // kBallot
  uint64_t word = 0, result = 0;                // kShuffle, kBallot
  const uint32_t* words = nullptr;              // kExchange
  const std::function<bool()>* done = nullptr;  // kUntil
};

constexpr size_t kSharedLimit = 227 * 1024, kStaticLimit = 48 * 1024;  // bytes of a block, on every target
constexpr size_t kEdge = 64;                                           // bytes between variables that nobody may touch
constexpr unsigned char kUnwritten = 0xff, kEdgeByte = 0xa5;

// A block's shared memory: the dynamic part, then the static variables as threads first meet them.
class SharedMemory {
 public:
  explicit SharedMemory(size_t dynamic_bytes)
      : storage_(new (std::align_val_t{kAlignment}) unsigned char[kSharedLimit + kStaticLimit * 2]) {
    if (dynamic_bytes > kSharedLimit)
      throw Error(std::to_string(dynamic_bytes) + " bytes of shared memory are asked for, a block has at most " +
                  std::to_string(kSharedLimit));
    allocate(dynamic_bytes);
  }

  void* dynamic() const { return storage_.get(); }

  void* variable(const void* tag, size_t bytes, size_t alignment) {
    const auto [it, fresh] = variables_.try_emplace(tag, size_t{0});
    if (fresh) {
      if ((static_bytes_ += bytes) > kStaticLimit || alignment > kAlignment)
        throw Error("static shared variables take more than " + std::to_string(kStaticLimit) + " bytes");
      it->second = allocate(bytes);
      std::memset(storage_.get() + it->second, kUnwritten, bytes);
    }
    return storage_.get() + it->second;
  }

  // For a new block: nobody has written anything.
  void poison() {
    std::memset(storage_.get(), kUnwritten, used_);
    for (const size_t edge : edges_) std::memset(storage_.get() + edge, kEdgeByte, kEdge);
  }

  void check_edges() const {
    for (const size_t edge : edges_)
      for (size_t i = edge; i < edge + kEdge; ++i)
        if (storage_[i] != kEdgeByte) throw Error("a write past the end of a shared array");
  }

 private:
  static constexpr size_t kAlignment = 128;
  struct Free {
    void operator()(unsigned char* p) const { operator delete[](p, std::align_val_t{kAlignment}); }
  };

  // The offset of new bytes, with an edge behind them.
  size_t allocate(size_t bytes) {
    const size_t offset = used_;
    edges_.push_back(offset + bytes);
    used_ = (offset + bytes + kEdge + kAlignment - 1) / kAlignment * kAlignment;
    std::memset(storage_.get() + edges_.back(), kEdgeByte, kEdge);
    return offset;
  }

  std::unique_ptr<unsigned char[], Free> storage_;
  size_t used_ = 0, static_bytes_ = 0;
  std::vector<size_t> edges_;
  std::map<const void*, size_t> variables_;
};

std::string place(const Where& where) {
  const std::string file = where.file_name();
  return file.substr(file.find_last_of('/') + 1) + ":" + std::to_string(where.line());
}

bool same_place(const Where& a, const Where& b) {
  return a.line() == b.line() && a.column() == b.column() && std::strcmp(a.file_name(), b.file_name()) == 0;
}

std::string text_of(const dim3& d) {
  return "(" + std::to_string(d.x) + ", " + std::to_string(d.y) + ", " + std::to_string(d.z) + ")";
}

std::string hex(uint32_t mask) {
  char text[16];
  std::snprintf(text, sizeof text, "0x%x", mask);
  return text;
}

// Fibers outlive launches: making one costs more than running a small block.
Thread& pooled_thread(unsigned i) {
  static auto& pool = *new std::vector<std::unique_ptr<Thread>>;
  while (pool.size() <= i) pool.push_back(std::make_unique<Thread>());
  return *pool[i];
}

class Launch;
Launch* current = nullptr;  // guarded by the mutex of run()
Thread* running = nullptr;  // the thread whose fiber runs
std::atomic<uint64_t> order_seed{0};

class Launch {
 public:
  Launch(dim3 grid, dim3 block, size_t shared_bytes, const std::function<void()>& kernel)
      : grid_(grid),
        block_(block),
        kernel_(kernel),
        shared_(shared_bytes),
        drawn_(order_seed),
        random_(order_seed) {
    const uint64_t threads = uint64_t{block.x} * block.y * block.z;
    if (threads == 0 || threads > 1024 || uint64_t{grid.x} * grid.y * grid.z == 0 || grid.y > 65535 || grid.z > 65535)
      throw Error("a grid of " + text_of(grid) + " blocks of " + text_of(block) + " threads cannot be launched");
    for (unsigned i = 0; i < threads; ++i) threads_.push_back(&pooled_thread(i));
  }

  void run() {
    const uint64_t blocks = uint64_t{grid_.x} * grid_.y * grid_.z;
    for (const uint64_t b : in_order(blocks)) {
      const auto x = static_cast<unsigned>(b % grid_.x), yz = static_cast<unsigned>(b / grid_.x);
      run_block({x, yz % grid_.y, yz / grid_.y});
    }
  }

  SharedMemory& shared() { return shared_; }
  unsigned threads() const { return static_cast<unsigned>(threads_.size()); }
  Thread* lane(unsigned warp, unsigned lane) const {
    return warp * kLanes + lane < threads() ? threads_[warp * kLanes + lane] : nullptr;
  }

 private:
  // 0 … n - 1, ascending or as drawn.
  std::vector<uint64_t> in_order(uint64_t n) {
    std::vector<uint64_t> order(n);
    std::iota(order.begin(), order.end(), uint64_t{0});
    if (drawn_) std::shuffle(order.begin(), order.end(), random_);
    return order;
  }

  void run_block(dim3 block) {
    shared_.poison();
    start(block);
    try {
      const unsigned warps = (threads() + kLanes - 1) / kLanes;
      while (returned_ < threads()) {
        bool moved = false;
        for (const uint64_t warp : in_order(warps)) moved |= run_warp(static_cast<unsigned>(warp));
        moved |= release_barrier() | release_waiting();
        if (!moved) throw Error("block " + text_of(block) + ": " + stands());
      }
      shared_.check_edges();
    } catch (...) {
      cancel();
      throw;
    }
  }

  void start(dim3 block) {
    returned_ = 0;
    for (unsigned i = 0; i < threads(); ++i) {
      Thread& t = *threads_[i];
      t.index = i;
      t.at = {{i % block_.x, i / block_.x % block_.y, i / (block_.x * block_.y)}, block, block_, grid_};
      t.state = State::kReady;
      t.fiber.start([this, &t] { run_thread(t); });
    }
  }

  // On the thread's own fiber.
  void run_thread(Thread& t) {
    try {
      if (!cancelling_) kernel_();
    } catch (const Cancelled&) {
    } catch (...) {
      failure_ = std::current_exception();
    }
    t.state = State::kReturned;
  }

  void resume(Thread& t) {
    running = &t;
    here = &t.at;
    t.state = State::kReady;
    t.fiber.resume();
    running = nullptr;
    here = nullptr;
    if (t.state == State::kReturned) ++returned_;
    if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
  }

  // Lets the warp's lanes run until all wait. Under a drawn order it may stop at a warp operation, so that other warps
  // come first.
  bool run_warp(unsigned warp) {
    bool moved = false;
    do {
      for (const uint64_t l : in_order(kLanes)) {
        Thread* t = lane(warp, static_cast<unsigned>(l));
        if (!t || t->state != State::kReady) continue;
        resume(*t);
        moved = true;
      }
    } while (release_meetings(warp) && (!drawn_ || random_() % 4 != 0));
    return moved;
  }

  bool release_barrier() {
    for (const Thread* t : threads_)
      if (t->state != State::kAtBarrier || !same_place(t->where, threads_[0]->where)) return false;
    for (Thread* t : threads_) t->state = State::kReady;
    return true;
  }

  bool release_waiting() {
    bool released = false;
    for (Thread* t : threads_) {
      if (t->state != State::kUntil || !(*t->done)()) continue;
      t->state = State::kReady;
      released = true;
    }
    return released;
  }

  bool release_meetings(unsigned warp) {
    bool released = false;
    for (unsigned l = 0; l < kLanes; ++l) {
      const Thread* first = lane(warp, l);
      if (!first || first->state != State::kMeeting || !all_met(warp, *first)) continue;
      release(warp, *first);
      released = true;
    }
    return released;
  }

  template <typename F> void for_mask(unsigned warp, uint32_t mask, F&& f) const {
    for (unsigned l = 0; l < kLanes; ++l)
      if (mask >> l & 1) f(l, *lane(warp, l));
  }

  bool all_met(unsigned warp, const Thread& first) const {
    bool met = true;
    for_mask(warp, first.mask, [&](unsigned, const Thread& t) {
      met = met && t.state == State::kMeeting && t.meeting == first.meeting && t.mask == first.mask &&
            same_place(t.where, first.where);
    });
    return met;
  }

  void release(unsigned warp, const Thread& first) {
    uint32_t votes = 0;
    for_mask(warp, first.mask, [&](unsigned l, Thread& t) { votes |= static_cast<uint32_t>(t.vote) << l; });
    for_mask(warp, first.mask, [&](unsigned, Thread& t) {
      if (t.meeting == Meeting::kBallot) t.result = votes;
      if (t.meeting == Meeting::kShuffle) t.result = lane(warp, t.from)->word;
    });
    for_mask(warp, first.mask, [&](unsigned, Thread& t) { t.state = State::kReady; });
  }

  // Where the threads of a stuck block stand.
  std::string stands() const {
    std::map<std::string, std::pair<int, unsigned>> at;  // how many, and the first
    for (const Thread* t : threads_) {
      std::string what = "returned";
      if (t->state == State::kAtBarrier) what = "at the barrier " + place(t->where);
      if (t->state == State::kUntil) what = "at the wait " + place(t->where);
      if (t->state == State::kMeeting) what = "at the warp operation " + place(t->where) + " of lanes " + hex(t->mask);
      const auto it = at.try_emplace(what, 0, t->index).first;
      ++it->second.first;
    }
    std::string text = "threads wait for one another in vain:";
    for (const auto& [what, count] : at)
      text += " " + std::to_string(count.first) + " " + what + " (thread " + std::to_string(count.second) + ");";
    text.pop_back();
    return text;
  }

  // Takes all threads out of the kernel, so that their fibers are free for the next launch.
  void cancel() {
    cancelling_ = true;
    for (Thread* t : threads_) {
      if (t->state == State::kReturned) continue;
      running = t;
      here = &t->at;
      t->fiber.resume();
    }
    running = nullptr;
    here = nullptr;
  }

  const dim3 grid_, block_;
  const std::function<void()>& kernel_;
  SharedMemory shared_;
  std::vector<Thread*> threads_;
  const bool drawn_;
  std::mt19937_64 random_;
  unsigned returned_ = 0;
  std::exception_ptr failure_;
  bool cancelling_ = false;

  friend void wait_in(State);
};

// The running thread waits; it goes on when the launch has released it.
void wait_in(State state) {
  running->state = state;
  if (!current->cancelling_) running->fiber.pause();
  if (current->cancelling_) throw Cancelled{};
}

Thread& self() { return *running; }

void meet(Meeting meeting, uint32_t mask, const Where& where) {
  Thread& t = self();
  const unsigned warp = t.index / kLanes, lane = t.index % kLanes;
  if (!(mask >> lane & 1))
    throw Error(place(where) + ": lane " + std::to_string(lane) + " is not in its own mask " + hex(mask));
  for (unsigned l = 0; l < kLanes; ++l)
    if (mask >> l & 1 && !current->lane(warp, l))
      throw Error(place(where) + ": the mask " + hex(mask) + " names lane " + std::to_string(l) +
                  ", which the block does not have");
  t.meeting = meeting;
  t.mask = mask;
  t.where = where;
  wait_in(State::kMeeting);
}

}  // namespace

void run(dim3 grid, dim3 block, size_t shared_bytes, const std::function<void()>& kernel) {
  static std::mutex one_at_a_time;
  const std::lock_guard lock(one_at_a_time);
  Launch launch(grid, block, shared_bytes, kernel);
  current = &launch;
  launch.run();
}

Order::Order(uint64_t seed) : before_(order_seed.exchange(seed)) {}
Order::~Order() { order_seed = before_; }

void block_barrier(const Where& where) {
  self().where = where;
  wait_in(State::kAtBarrier);
}

void wait_until(const std::function<bool()>& done, const Where& where) {
  if (done()) return;
  self().where = where;
  self().done = &done;
  wait_in(State::kUntil);
}

void warp_barrier(uint32_t mask, const Where& where) { meet(Meeting::kBarrier, mask, where); }

uint32_t ballot(uint32_t mask, bool vote, const Where& where) {
  self().vote = vote;
  meet(Meeting::kBallot, mask, where);
  return static_cast<uint32_t>(self().result);
}

uint64_t shuffle(uint32_t mask, uint64_t word, unsigned from, const Where& where) {
  if (!(mask >> from & 1))
    throw Error(place(where) + ": a shuffle reads lane " + std::to_string(from) + ", which its mask " + hex(mask) +
                " does not name");
  self().word = word;
  self().from = from;
  meet(Meeting::kShuffle, mask, where);
  return self().result;
}

std::array<const uint32_t*, kLanes> enter_exchange(uint32_t mask, const uint32_t* words, const Where& where) {
  self().words = words;
  meet(Meeting::kExchange, mask, where);
  std::array<const uint32_t*, kLanes> shown{};
  for (unsigned l = 0; l < kLanes; ++l)
    if (mask >> l & 1) shown[l] = current->lane(self().index / kLanes, l)->words;
  return shown;
}

void leave_exchange(uint32_t mask, const Where& where) { meet(Meeting::kBarrier, mask, where); }

unsigned lane_id() { return self().index % kLanes; }

unsigned lane_of_segment(int lane, unsigned width) {
  if (width == 0 || width > kLanes || !std::has_single_bit(width) || lane < 0 || lane >= static_cast<int>(width))
    throw Error("a shuffle reads lane " + std::to_string(lane) + " of " + std::to_string(width));
  return (lane_id() & ~(width - 1)) + static_cast<unsigned>(lane);
}

void* dynamic_shared() { return current->shared().dynamic(); }
void* static_shared(const void* tag, size_t bytes, size_t alignment) {
  return current->shared().variable(tag, bytes, alignment);
}

}  // namespace shardit::simt

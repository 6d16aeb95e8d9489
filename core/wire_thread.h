// The wire stream of a device whose compute stream is the calling thread: a thread that runs collectives one after
// another, in the order in which they were issued, while the caller computes.
//
// issue, mark, wait_for and drain are called by one thread. Nothing is allocated after construction.
#pragma once

#include <array>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>

#include "core/op_card.h"
#include "core/trace.h"

namespace shardit {

class WireThread {
 public:
  WireThread();
  ~WireThread();  // after what was issued
  WireThread(const WireThread&) = delete;
  WireThread& operator=(const WireThread&) = delete;

  // `args`, what it points to and `when`, which may be null, must stay in place until the kernel ran. Waits while the
  // queue is full.
  void issue(const OpCard& card, const KernelArgs& args, Trace::Span* when);
  uint64_t issued() const { return issued_; }  // kernels so far: what wait_for counts in

  // Waits until the first `count` issued kernels are over. If one of all issued kernels failed, what came after it did
  // not run, and its exception is thrown here.
  void wait_for(uint64_t count);
  void drain() { wait_for(issued_); }

 private:
  struct Item {
    const OpCard* card = nullptr;
    KernelArgs args;
    Trace::Span* when = nullptr;
  };

  void work();
  void rethrow_failure(std::unique_lock<std::mutex>& lock);

  std::array<Item, 256> queue_;
  uint64_t issued_ = 0;     // the caller's own count
  uint64_t published_ = 0;  // guarded by mutex_, as are all below
  uint64_t finished_ = 0;
  bool stopping_ = false;
  std::exception_ptr failure_;
  std::mutex mutex_;
  std::condition_variable wake_, progress_;
  std::thread thread_;
};

}  // namespace shardit

#include "core/wire_thread.h"

#include <utility>

namespace shardit {

WireThread::WireThread() : thread_([this] { work(); }) {}

WireThread::~WireThread() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

void WireThread::issue(const OpCard& card, const KernelArgs& args, Trace::Span* when) {
  {
    std::unique_lock lock(mutex_);
    progress_.wait(lock, [&] { return published_ - finished_ < queue_.size(); });
    queue_[published_ % queue_.size()] = {&card, args, when};
    issued_ = ++published_;
  }
  wake_.notify_one();
}

void WireThread::wait_for(uint64_t count) {
  std::unique_lock lock(mutex_);
  progress_.wait(lock, [&] { return finished_ >= count || failure_; });
  rethrow_failure(lock);
}

// Only when nothing runs any more: the memory that kernels use is about to be given up by whoever catches this.
void WireThread::rethrow_failure(std::unique_lock<std::mutex>& lock) {
  if (!failure_) return;
  progress_.wait(lock, [&] { return finished_ == published_; });
  std::rethrow_exception(std::exchange(failure_, nullptr));
}

void WireThread::work() {
  std::unique_lock lock(mutex_);
  for (;;) {
    wake_.wait(lock, [&] { return stopping_ || finished_ < published_; });
    if (finished_ == published_) return;  // stopping, and all is done
    const Item item = queue_[finished_ % queue_.size()];
    if (!failure_) {
      lock.unlock();
      std::exception_ptr failure;
      if (item.when) item.when->begin_ns = Trace::now_ns();
      try {
        item.card->cpu(item.args);
      } catch (...) {
        failure = std::current_exception();
      }
      if (item.when) item.when->end_ns = Trace::now_ns();
      lock.lock();
      failure_ = failure;
    }
    ++finished_;
    progress_.notify_one();
  }
}

}  // namespace shardit

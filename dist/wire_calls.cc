#include "dist/wire_calls.h"

#include <atomic>

#include <glog/logging.h>

namespace shardit {

WireCalls::WireCalls(std::shared_ptr<CallLog> log, const uint64_t* marks) : log_(std::move(log)), marks_(marks) {
  log_->before_reads([this] {
    const std::lock_guard lock(mutex_);
    tell();
  });
}

WireCalls::~WireCalls() { log_->before_reads(nullptr); }

std::optional<Call> WireCalls::put(CallLog::Group& group, CallOp op, const char* label, int64_t bytes) {
  const std::lock_guard lock(mutex_);
  tell();
  if (put_ - told_ / 2 == kQueued) return std::nullopt;
  Call call = group.make(op, label, bytes);
  call.number = ++numbers_[&group];
  queued(put_++) = {&group, call};
  return call;
}

std::optional<Call> WireCalls::earliest_of(const CallLog::Group& group) {
  const std::lock_guard lock(mutex_);
  tell();
  for (uint64_t number = told_ / 2; number < put_; ++number)
    if (queued(number).group == &group) return queued(number).call;
  return std::nullopt;
}

void WireCalls::tell() {
  const uint64_t marks = std::atomic_ref(*const_cast<uint64_t*>(marks_)).load(std::memory_order_acquire);
  CHECK_LE(marks, 2 * put_) << "the device has come to calls that were not put on its stream";
  for (; told_ < marks; ++told_) {
    const Queued& next = queued(told_ / 2);
    if (told_ % 2 == 0)
      next.group->begin(next.call.op, next.call.label, next.call.bytes);
    else
      next.group->finish();
  }
}

}  // namespace shardit

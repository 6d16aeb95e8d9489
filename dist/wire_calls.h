// The calls that a rank has put on its device's wire stream, told to the call log when the device comes to them: so the
// log, and the watchdog with it, sees the device's calls as it sees the host's, and not when they were put in a queue.
//
// The device counts on one number in the host's memory: it adds one when it comes to a call, and one when it is through
// it. So 2 k + 1 says that k calls are over and the next one runs. Reading it asks nothing of the device, and a
// captured graph counts as well when it is replayed.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>

#include "dist/call_log.h"

namespace shardit {

class WireCalls {
 public:
  static constexpr int64_t kQueued = 512;  // calls on their way at a time

  // `marks`: the device's number, 0 at first; outlives this.
  WireCalls(std::shared_ptr<CallLog> log, const uint64_t* marks);
  ~WireCalls();
  WireCalls(const WireCalls&) = delete;
  WireCalls& operator=(const WireCalls&) = delete;

  // The next call on the stream, of a group of the log; nothing while kQueued are on their way: then ask again. All
  // calls of the group are made here.
  std::optional<Call> put(CallLog::Group& group, CallOp op, const char* label, int64_t bytes);

  // The earliest call of the group that is not over.
  std::optional<Call> earliest_of(const CallLog::Group& group);

 private:
  struct Queued {
    CallLog::Group* group = nullptr;
    Call call;
  };

  void tell();  // REQUIRES: mutex_ is held
  Queued& queued(uint64_t number) { return queue_[static_cast<size_t>(number % kQueued)]; }

  const std::shared_ptr<CallLog> log_;
  const uint64_t* const marks_;
  std::mutex mutex_;             // guards all below
  uint64_t put_ = 0, told_ = 0;  // calls put on the stream; marks of the device that the log knows of
  std::map<const CallLog::Group*, int64_t> numbers_;  // of the last call put
  std::array<Queued, kQueued> queue_;
};

}  // namespace shardit

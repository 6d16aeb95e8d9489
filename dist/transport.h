// Messages between the ranks of one group: what a new kind of world has to bring. The collectives are written once,
// over this (collectives.cc), and drive it from one thread at a time.
//
// Messages of one call from one rank to another arrive in the order in which they were started, and a message of one
// call is never taken for one of another: each carries the hash of its call.
#pragma once

#include <cstdint>

#include "dist/call_log.h"

namespace shardit {

class Transport {
 public:
  static constexpr int kSlots = 16;  // messages in flight at once, both ways together

  virtual ~Transport() = default;
  // `call` is whose messages follow: for their hash, and for errors.
  virtual void enter(const Call& call) = 0;
  // The memory stays untouched (sent) or undefined (received) until test(slot) is true. REQUIRES: the slot is free.
  virtual void start_send(int slot, int to, const void* data, int64_t bytes) = 0;
  virtual void start_receive(int slot, int from, void* data, int64_t bytes) = 0;
  // The message has left or is there, and the slot is free; until then, call again. Throws CommError.
  virtual bool test(int slot) = 0;
  // After an error: gives up all messages in flight, so that their memory may go.
  virtual void forget() = 0;
};

}  // namespace shardit

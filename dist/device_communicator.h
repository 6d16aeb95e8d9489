// Collectives among the ranks of a group, on memory of their devices: what communicator.h has for the host's.
//
// Calls are put on a stream and return: memory given may be used again, and memory asked for is filled, once the stream
// has come past them. Every rank of the group makes the same calls in the same order; calls on all groups of a rank
// come from one thread and go on one stream. A peer that is gone or broken is a CommError that names the group, the
// call and the rank, thrown by a later call or by the device when the host waits for it (Device::while_waiting).
#pragma once

#include <cstdint>

namespace shardit {

class DeviceCommunicator {
 public:
  virtual ~DeviceCommunicator() = default;

  // `label` says in traces and in the watchdog's report what the call is for ("blocks.7").

  // Part p of `all` becomes what rank p gave. `part` may lie at its place in `all`.
  virtual void all_gather(const char* label, const void* part, void* all, int64_t part_bytes, void* stream) = 0;

  // Part p of `send` goes to rank p; part p of `receive` comes from rank p. The two do not overlap.
  virtual void all_to_all(const char* label, const void* send, void* receive, int64_t part_bytes, void* stream) = 0;

  // `receive` becomes the fp32 sum over ranks of their parts of that number, in the library's order. It may lie at its
  // place in `send`.
  virtual void reduce_scatter(const char* label, const float* send, float* receive, int64_t part_elements,
                              void* stream) = 0;
};

}  // namespace shardit

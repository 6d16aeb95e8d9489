// Collectives among the ranks of a group, on memory that the host reaches. One implementation per transport: threads
// of this process, MPI processes; the same tests run on all.
//
// Calls block until this rank's part is done: memory given may be used again, memory asked for is filled. Every rank of
// the group makes the same calls in the same order; calls on one communicator come from one thread at a time, calls on
// different communicators may run at the same time. No call allocates after the first of its size.
// A peer that is gone or broken is a CommError that names the group, the call and the rank.
#pragma once

#include <cstdint>

namespace shardit {

class Communicator {
 public:
  virtual ~Communicator() = default;
  virtual const char* name() const = 0;  // of the group: "world", "shard", "replicate", "control", …
  virtual int rank() const = 0;          // of this process (or thread) within the group
  virtual int size() const = 0;

  // `label` says in traces and in the watchdog's report what the call is for ("blocks.7"); it must outlive the call.

  // Part p of `all` becomes what rank p gave. `part` may lie at its place in `all`.
  virtual void all_gather(const char* label, const void* part, void* all, int64_t part_bytes) = 0;

  // Part p of `send` goes to rank p; part p of `receive` comes from rank p. The two do not overlap.
  virtual void all_to_all(const char* label, const void* send, void* receive, int64_t part_bytes) = 0;

  // `receive` becomes the fp32 sum over ranks of their parts number rank(), in whatever order is fastest here. It may
  // lie at its place in `send`.
  virtual void reduce_scatter(const char* label, const float* send, float* receive, int64_t part_elements) = 0;

  virtual void broadcast(const char* label, void* data, int64_t bytes, int root) = 0;
  virtual void barrier(const char* label) = 0;
};

}  // namespace shardit

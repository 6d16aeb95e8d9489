// The collectives, over any transport: ring all_gather, pairwise all_to_all and reduce_scatter, broadcast along a
// chain, dissemination barrier.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "dist/call_log.h"
#include "dist/communicator.h"
#include "dist/transport.h"

namespace shardit {

// Data goes in chunks, so that what comes in can go on at once. Each chunk costs both ends a turn on a core, and where
// computing threads share the cores, a turn is milliseconds: no smaller than this.
inline constexpr int64_t kChunkBytes = 1 << 20;
// Of a reduce_scatter: terms are added while they are in cache, with those that arrive meanwhile.
inline constexpr int64_t kSumChunkBytes = 256 << 10;

struct GroupPlace {
  std::string name;
  int rank = 0, size = 1;  // of this process (or thread) within the group
};

// `transport` is null in a group of one. The calls go to `calls`, of `log`.
std::unique_ptr<Communicator> make_communicator(const GroupPlace& place, std::unique_ptr<Transport> transport,
                                                std::shared_ptr<CallLog> log, CallLog::Group& calls);

}  // namespace shardit

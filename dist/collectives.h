// The collectives, over any transport: ring all_gather, pairwise all_to_all and reduce_scatter, broadcast along a
// chain, dissemination barrier. Data goes in chunks that stay in cache.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "dist/call_log.h"
#include "dist/communicator.h"
#include "dist/transport.h"

namespace shardit {

struct GroupPlace {
  std::string name;
  int rank = 0, size = 1;  // of this process (or thread) within the group
};

// `transport` is null in a group of one. The calls go to `calls`, of `log`.
std::unique_ptr<Communicator> make_communicator(const GroupPlace& place, std::unique_ptr<Transport> transport,
                                                std::shared_ptr<CallLog> log, CallLog::Group& calls);

}  // namespace shardit

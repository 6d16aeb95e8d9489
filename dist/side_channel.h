// How the watchdogs of all ranks speak with each other when a call hangs: beside all groups, so that a rank that waits
// or computes is heard as well. Used by one thread, the watchdog's; no call blocks.
#pragma once

#include <vector>

#include "dist/call_log.h"

namespace shardit {

class SideChannel {
 public:
  virtual ~SideChannel() = default;
  // Tells all others the last calls of this rank. REQUIRES: called once.
  virtual void tell(const RankCalls& mine) = 0;
  // What others have told since the last call.
  virtual std::vector<RankCalls> hear() = 0;
};

}  // namespace shardit

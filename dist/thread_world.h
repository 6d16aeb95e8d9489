// Ranks as threads of this process, for tests: the collectives of a real run, with faults injected.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "dist/world.h"

namespace shardit {

struct ThreadWorldOptions {
  // Each rank sleeps up to max_delay_us before and after every collective, as drawn from the seed.
  uint64_t seed = 0;
  int max_delay_us = 0;
  int local_size = 0;  // ranks per node; 0: all ranks are on one node

  // The message number `index` (from 0, over all groups) from one rank to another never arrives.
  struct Drop {
    int from, to;
    int64_t index = 0;
  };
  std::optional<Drop> drop;

  // The rank ends with RankKilled in place of its call number `call` (from 0, over all groups).
  struct Kill {
    int rank;
    int64_t call = 0;
  };
  std::optional<Kill> kill;
};

// Not an Error: nothing may catch it and go on.
struct RankKilled {
  int rank;
  int64_t call;
};

// Runs body(world) on `ranks` threads, one rank each, and returns when all have ended. A rank that throws ends the
// others with a CommError. Rethrows the first error by rank; errors that another rank's end has caused come last.
void run_ranks(int ranks, const ThreadWorldOptions& options, const std::function<void(World&)>& body);

}  // namespace shardit

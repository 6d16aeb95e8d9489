#include "launcher/threads.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <string>

#include "core/error.h"
#include "launcher/cpu_place.h"

namespace shardit {
namespace {

cpu_set_t all_cpus() {
  cpu_set_t cpus;
  std::memset(&cpus, 0xff, sizeof cpus);
  return cpus;
}

}  // namespace

int compute_threads(int ranks) {
  const char* set = std::getenv("OMP_NUM_THREADS");
  if (!set || !*set) return std::max(1, usable_cpus() / ranks);
  char* end = nullptr;
  const long threads = std::strtol(set, &end, 10);
  REQUIRE(*end == '\0' && threads >= 1 && threads <= 4096,
          std::string("OMP_NUM_THREADS is '") + set + "', expected a number of threads, 1 or more");
  return static_cast<int>(threads);
}

int compute_threads(Ranks& ranks) {
  const std::vector<RankCpus> all =
      ranks.all("cpus", RankCpus{ranks.world().node(), allowed_cpus().value_or(all_cpus())});
  int threads = 1;
  ranks.together("threads", [&] { threads = compute_threads(ranks_on_cpus_of(ranks.rank(), all)); });
  return threads;
}

int ranks_on_cpus_of(int rank, const std::vector<RankCpus>& ranks) {
  const RankCpus& mine = ranks[static_cast<size_t>(rank)];
  return static_cast<int>(std::count_if(ranks.begin(), ranks.end(), [&](const RankCpus& other) {
    cpu_set_t both;
    CPU_AND(&both, &mine.cpus, &other.cpus);
    return other.node == mine.node && CPU_COUNT(&both) > 0;
  }));
}

}  // namespace shardit

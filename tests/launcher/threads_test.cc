#include "launcher/threads.h"

#include <gtest/gtest.h>

#include "launcher/cpu_place.h"

namespace shardit {
namespace {

RankCpus on(int node, const std::string& list) { return {.node = node, .cpus = parse_cpu_list(list).value()}; }

TEST(Threads, CpusAreSharedWithTheRanksThatMayRunOnThem) {
  const std::vector<RankCpus> ranks = {on(0, "0-3"), on(0, "4-7"), on(0, "4-7"), on(0, "3-4"), on(4, "0-7")};
  std::vector<int> sharers;
  for (int rank = 0; rank < std::ssize(ranks); ++rank) sharers.push_back(ranks_on_cpus_of(rank, ranks));
  EXPECT_EQ(sharers, (std::vector<int>{2, 3, 3, 4, 1}));
}

}  // namespace
}  // namespace shardit

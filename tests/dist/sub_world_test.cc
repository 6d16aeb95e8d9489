#include "dist/sub_world.h"

#include <gtest/gtest.h>

#include "dist/thread_world.h"

namespace shardit {
namespace {

TEST(SubWorld, IsTheFirstRanksOfTheJob) {
  run_ranks(5, {}, [](World& job) {
    for (int size : {1, 2, 3, 5}) {
      if (job.rank() >= size) continue;
      const auto part = make_sub_world(job, size);
      EXPECT_EQ(part->rank(), job.rank());
      EXPECT_EQ(part->size(), size);
      EXPECT_EQ(part->local_size(), size);
      const auto group = part->make_group("all");
      std::vector<int> numbers(static_cast<size_t>(size));
      const int mine = part->rank();
      group->all_gather("numbers", &mine, numbers.data(), sizeof mine);
      for (int r = 0; r < size; ++r) EXPECT_EQ(numbers[static_cast<size_t>(r)], r);
    }
    job.make_group("whole")->barrier("end");
  });
}

// Ranks outside know nothing of its groups, and the next group of all is the same for all.
TEST(SubWorld, GroupsOfAllGoOnAfterGroupsOfAPart) {
  run_ranks(4, {}, [](World& job) {
    for (int round = 0; round < 3; ++round) {
      if (job.rank() < 2) {
        const auto part = make_sub_world(job, 2);
        part->make_group("control")->barrier("control");
        part->make_group("pair", {0, 1})->barrier("pair");
      }
      std::vector<int> all(4);
      const int mine = job.rank() * 10 + round;
      job.make_group("whole")->all_gather("all", &mine, all.data(), sizeof mine);
      EXPECT_EQ(all, (std::vector<int>{round, 10 + round, 20 + round, 30 + round}));
    }
  });
}

TEST(SubWorld, CountsTheRanksOfItsNodes) {
  run_ranks(5, {.local_size = 2}, [](World& job) {
    EXPECT_EQ(job.node(), job.rank() / 2 * 2);
    if (job.rank() >= 3) return;
    const auto part = make_sub_world(job, 3);
    EXPECT_EQ(part->local_size(), job.rank() < 2 ? 2 : 1);
    EXPECT_EQ(part->local_rank(), job.rank() % 2);
    EXPECT_EQ(part->node(), job.node());
  });
}

TEST(SubWorld, ItsCallsAreTheJobs) {
  run_ranks(2, {}, [](World& job) {
    const uint64_t before = job.calls().hash();
    const auto part = make_sub_world(job, 2);
    part->make_group("control")->barrier("control");
    EXPECT_EQ(part->calls().hash(), job.calls().hash());
    EXPECT_NE(job.calls().hash(), before);
  });
}

TEST(SubWorld, IsAloneInAGroupOfOne) {
  const auto job = make_single_world(), part = make_sub_world(*job, 1);
  EXPECT_EQ(part->size(), 1);
  EXPECT_EQ(part->local_size(), 1);
}

}  // namespace
}  // namespace shardit

#include "dist/thread_world.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <atomic>
#include <chrono>
#include <stdexcept>
#include <thread>
#include <vector>

#include "core/error.h"

namespace shardit {
namespace {

void expect_text(const std::string& text, const std::string& part) {
  EXPECT_NE(text.find(part), std::string::npos) << text << "\nlacks: " << part;
}

// What the body's CommError says on each rank; empty where there was none.
std::vector<std::string> comm_errors(int ranks, const ThreadWorldOptions& options,
                                     const std::function<void(World&)>& body) {
  std::vector<std::string> errors(static_cast<size_t>(ranks));
  try {
    run_ranks(ranks, options, [&](World& world) {
      try {
        body(world);
      } catch (const CommError& error) {
        errors[static_cast<size_t>(world.rank())] = error.what();
        throw;
      }
    });
  } catch (const RankKilled&) {
  } catch (const std::exception&) {}
  return errors;
}

void meet_often(World& world) {
  const auto group = world.make_group("world");
  std::vector<int> all(static_cast<size_t>(world.size()));
  for (int i = 0; i < 20; ++i) group->all_gather("step", &i, all.data(), sizeof i);
}

TEST(ThreadWorld, RunsEveryRankOnce) {
  std::atomic<int> seen{0};
  run_ranks(5, {}, [&](World& world) {
    EXPECT_EQ(world.size(), 5);
    seen += 1 << world.rank();
  });
  EXPECT_EQ(seen, 31);
}

TEST(ThreadWorld, DelaysChangeNoResult) {
  for (uint64_t seed = 0; seed < 40; ++seed)
    run_ranks(3, {.seed = seed, .max_delay_us = 60}, [&](World& world) {
      const auto group = world.make_group("world");
      for (int call = 0; call < 12; ++call) {
        const int mine = call * 10 + world.rank();
        std::vector<int> all(3);
        group->all_gather("step", &mine, all.data(), sizeof mine);
        EXPECT_EQ(all, (std::vector{call * 10, call * 10 + 1, call * 10 + 2}));
        std::vector<float> send(3, static_cast<float>(mine)), sum(1);
        group->reduce_scatter("sum", send.data(), sum.data(), 1);
        EXPECT_EQ(sum[0], static_cast<float>(call * 30 + 3));
      }
    });
}

TEST(ThreadWorld, AKilledRankEndsTheOthersWithAnErrorThatNamesIt) {
  for (int64_t call : {0, 1, 7}) {
    const auto errors = comm_errors(3, {.kill = {{.rank = 1, .call = call}}}, meet_often);
    EXPECT_EQ(errors[1], "");
    for (int rank : {0, 2}) {
      expect_text(errors[rank], "rank 1 ended: killed at its call " + std::to_string(call));
      expect_text(errors[rank], "all_gather \"step\" (group world, call ");
      expect_text(errors[rank], "on rank " + std::to_string(rank));
    }
  }
}

TEST(ThreadWorld, RethrowsTheKill) {
  try {
    run_ranks(3, {.kill = {{.rank = 2, .call = 3}}}, meet_often);
    FAIL() << "nothing was thrown";
  } catch (const RankKilled& killed) {
    EXPECT_EQ(killed.rank, 2);
    EXPECT_EQ(killed.call, 3);
  }
}

TEST(ThreadWorld, AbortEndsTheOthersWithItsReason) {
  const auto errors = comm_errors(2, {}, [](World& world) {
    if (world.rank() == 1) return world.abort(4, "the disk is full");
    meet_often(world);
  });
  expect_text(errors[0], "rank 1 ended: the disk is full");
  EXPECT_EQ(errors[1], "");
}

// Rank 0 only hears of it; rank 1 is where it happened.
TEST(ThreadWorld, RethrowsTheCauseNotItsEchoes) {
  try {
    run_ranks(3, {}, [](World& world) {
      if (world.rank() == 1) throw IoError("no space left");
      meet_often(world);
    });
    FAIL() << "nothing was thrown";
  } catch (const IoError& error) {
    EXPECT_STREQ(error.what(), "no space left");
  }
}

TEST(ThreadWorld, OfTwoCausesTheLowerRankIsRethrown) {
  try {
    run_ranks(3, {}, [](World& world) {
      if (world.rank() > 0) throw std::runtime_error("rank " + std::to_string(world.rank()));
    });
    FAIL() << "nothing was thrown";
  } catch (const std::runtime_error& error) {
    EXPECT_STREQ(error.what(), "rank 1");
  }
}

// Memory that is gone for good after its scope: who still reads it dies.
class Mapped {
 public:
  explicit Mapped(size_t bytes)
      : bytes_(bytes),
        data_(mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) {}
  ~Mapped() { munmap(data_, bytes_); }
  Mapped(const Mapped&) = delete;
  Mapped& operator=(const Mapped&) = delete;
  void* data() const { return data_; }

 private:
  const size_t bytes_;
  void* const data_;
};

// A rank that an error ends takes back what it had begun to send, though a peer may be copying it just then.
TEST(ThreadWorld, MemoryOfAnEndedRankIsReadByNobody) {
  for (int round = 0; round < 20; ++round)
    comm_errors(3, {}, [round](World& world) {
      const auto group = world.make_group("pair", world.rank() < 2 ? std::vector{0, 1} : std::vector{2});
      if (world.rank() == 2) {
        std::this_thread::sleep_for(std::chrono::microseconds(1000 + 150 * round));
        return world.abort(1, "enough");
      }
      const Mapped part(4 << 20), all(8 << 20);
      for (;;) group->all_gather("large", part.data(), all.data(), 4 << 20);
    });
}

TEST(ThreadWorld, EmulatesNodes) {
  run_ranks(5, {.local_size = 2}, [](World& world) {
    EXPECT_EQ(world.local_rank(), world.rank() % 2);
    EXPECT_EQ(world.local_size(), world.rank() == 4 ? 1 : 2);
  });
  run_ranks(3, {}, [](World& world) {
    EXPECT_EQ(world.local_rank(), world.rank());
    EXPECT_EQ(world.local_size(), 3);
  });
}

}  // namespace
}  // namespace shardit

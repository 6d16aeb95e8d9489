#include "dist/agree.h"

#include <gtest/gtest.h>

#include "core/error.h"
#include "dist/thread_world.h"

namespace shardit {
namespace {

// How a rank ended: "done", "killed", or the kind of its error and the message, "IoError: …".
using Ends = std::vector<std::string>;

std::string end_of(const std::function<void()>& body) {
  try {
    body();
    return "done";
  } catch (const UserError& error) {
    return std::string("UserError: ") + error.what();
  } catch (const IoError& error) {
    return std::string("IoError: ") + error.what();
  } catch (const CommError& error) {
    return std::string("CommError: ") + error.what();
  } catch (const Error& error) {
    return std::to_string(error.exit_code) + ": " + error.what();
  }
}

Ends with_ranks(int ranks, const std::function<void(Communicator&)>& body) {
  Ends ends(static_cast<size_t>(ranks), "killed");
  try {
    run_ranks(ranks, {}, [&](World& world) {
      const auto group = world.make_group("test");
      ends[world.rank()] = end_of([&] { body(*group); });
    });
  } catch (const RankKilled&) {
  }
  return ends;
}

Ends all_done(int ranks) { return Ends(static_cast<size_t>(ranks), "done"); }

TEST(AllWork, GivesEveryRankWhatAllMade) {
  const Ends ends = with_ranks(4, [](Communicator& ranks) {
    const std::string mine(ranks.rank() * 3, static_cast<char>('a' + ranks.rank()));  // of different lengths, one empty
    EXPECT_EQ(all_work(ranks, "test", [&] { return mine; }),
              (std::vector<std::string>{"", "bbb", "cccccc", "ddddddddd"}));
  });
  EXPECT_EQ(ends, all_done(4));
}

TEST(AllWork, ThrowsTheErrorOfOneRankOnEveryRank) {
  const Ends ends = with_ranks(4, [](Communicator& ranks) {
    all_work(ranks, "test", [&]() -> std::string {
      if (ranks.rank() == 2) throw IoError("write x: No space left on device\nfree space");
      return "fine";
    });
  });
  EXPECT_EQ(ends, Ends(4, "IoError: rank 2 of 4: write x: No space left on device\nfree space"));
}

TEST(AllWork, NamesTheFirstOfSeveralAndCountsTheRest) {
  const Ends ends = with_ranks(5, [](Communicator& ranks) {
    all_work(ranks, "test", [&]() -> std::string {
      if (ranks.rank() % 2 == 1) throw IoError("disk " + std::to_string(ranks.rank()));
      return "";
    });
  });
  EXPECT_EQ(ends, Ends(5, "IoError: rank 1 of 5 (and 1 more): disk 1"));
}

TEST(AllWork, LeavesAnErrorThatAllRanksMeetAsItIs) {
  for (int size : {1, 3}) {
    const Ends ends = with_ranks(size, [](Communicator& ranks) {
      all_work(ranks, "test", []() -> std::string { throw UserError("another model"); });
    });
    EXPECT_EQ(ends, Ends(size, "UserError: another model"));
  }
}

TEST(AllWork, CountsEveryExceptionAsAVote) {
  const Ends ends = with_ranks(2, [](Communicator& ranks) {
    all_work(ranks, "test", [&]() -> std::string {
      if (ranks.rank() == 1) throw std::bad_alloc();
      return "";
    });
  });
  EXPECT_EQ(ends, Ends(2, "3: rank 1 of 2: out of memory on the host"));
}

TEST(AllWork, WithADeadRankIsACommErrorOnTheOthers) {
  const Ends ends = with_ranks(3, [](Communicator& ranks) {
    all_work(ranks, "test", [&]() -> std::string {
      if (ranks.rank() == 1) throw RankKilled{1, 0};
      return "";
    });
  });
  EXPECT_EQ(ends[1], "killed");
  for (int rank : {0, 2}) EXPECT_TRUE(ends[rank].starts_with("CommError")) << ends[rank];
}

TEST(RankZeroWorks, OnceAndAllHearTheResult) {
  std::atomic<int> worked = 0;
  EXPECT_EQ(with_ranks(3,
                       [&](Communicator& ranks) {
                         EXPECT_EQ(rank_zero_works(ranks, "test", [&] { return ++worked, std::string("said"); }),
                                   "said");
                       }),
            all_done(3));
  EXPECT_EQ(worked, 1);
}

TEST(RankZeroWorks, AndAllHearItsError) {
  const auto refuse = [](Communicator& ranks) {
    rank_zero_works(ranks, "test", []() -> std::string { throw UserError("there is no step 7"); });
  };
  const auto break_down = [](Communicator& ranks) {
    rank_zero_works(ranks, "test", []() -> std::string { throw IoError("read x: Input/output error"); });
  };
  EXPECT_EQ(with_ranks(3, refuse), Ends(3, "UserError: there is no step 7"));
  EXPECT_EQ(with_ranks(3, break_down), Ends(3, "IoError: rank 0: read x: Input/output error"));
  EXPECT_EQ(with_ranks(1, break_down), Ends(1, "IoError: read x: Input/output error"));
}

}  // namespace
}  // namespace shardit

#include "dist/wire_calls.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

#include "dist/diagnosis.h"

namespace shardit {
namespace {

// A rank whose device is the test: it counts.
struct Rank {
  explicit Rank(int rank, const std::vector<int>& ranks = {0, 1}) : log(std::make_shared<CallLog>(rank)) {
    for (const char* name : {"nccl.world", "nccl.shard"}) {
      groups.push_back(&log->make_group(name, ranks));
      groups.back()->finish();
    }
  }
  void put(const char* label, int group = 0) {
    ASSERT_TRUE(calls.put(*groups[static_cast<size_t>(group)], CallOp::kAllGather, label, 8));
  }
  void device_counts(uint64_t more = 1) { std::atomic_ref(marks).fetch_add(more); }
  std::vector<std::string> running() const {
    std::vector<std::string> labels;
    for (const Call& call : log->snapshot().calls)
      if (call.running()) labels.push_back(call.label);
    return labels;
  }
  size_t logged() const { return log->snapshot().calls.size() - groups.size(); }  // without the making of the groups

  uint64_t marks = 0;
  std::shared_ptr<CallLog> log;
  std::vector<CallLog::Group*> groups;
  WireCalls calls{log, &marks};
};

using Labels = std::vector<std::string>;

TEST(WireCalls, AreInTheLogWhenTheDeviceComesToThem) {
  Rank rank(0);
  rank.put("a");
  rank.put("b", 1);
  EXPECT_EQ(rank.logged(), 0u);
  EXPECT_EQ(rank.log->longest_running_ns(), 0);
  rank.device_counts();
  EXPECT_EQ(rank.running(), Labels{"a"});
  EXPECT_GT(rank.log->longest_running_ns(), 0);
  rank.device_counts();
  EXPECT_EQ(rank.running(), Labels{});
  EXPECT_EQ(rank.logged(), 1u);
  rank.device_counts();
  EXPECT_EQ(rank.running(), Labels{"b"});
  rank.device_counts();
  EXPECT_EQ(rank.log->longest_running_ns(), 0);
  EXPECT_EQ(rank.logged(), 2u);
}

// What an error message says of a call is what the log will.
TEST(WireCalls, HaveTheirNumbersBeforeTheyAreInTheLog) {
  Rank rank(0);
  rank.put("a");
  rank.put("b", 1);
  const std::optional<Call> third = rank.calls.put(*rank.groups[0], CallOp::kAllToAll, "c", 4096);
  ASSERT_TRUE(third);
  EXPECT_EQ(describe(*third), "all_to_all \"c\" (group nccl.world, call 2, 4096 bytes)");
  rank.device_counts(5);
  EXPECT_EQ(describe(rank.log->snapshot().calls.back()), describe(*third));
}

TEST(WireCalls, TheEarliestOfAGroupIsTheOneThatIsNotOver) {
  Rank rank(0);
  for (const char* label : {"a", "b", "c"}) rank.put(label);
  rank.put("d", 1);
  EXPECT_STREQ(rank.calls.earliest_of(*rank.groups[0])->label, "a");
  rank.device_counts(3);
  EXPECT_STREQ(rank.calls.earliest_of(*rank.groups[0])->label, "b");
  EXPECT_STREQ(rank.calls.earliest_of(*rank.groups[1])->label, "d");
  rank.device_counts(5);
  EXPECT_FALSE(rank.calls.earliest_of(*rank.groups[1]));
}

TEST(WireCalls, AreTakenUntilTheQueueIsFullAndAgainWhenOneIsOver) {
  Rank rank(0);
  for (int64_t i = 0; i < WireCalls::kQueued; ++i) rank.put("first round");
  EXPECT_FALSE(rank.calls.put(*rank.groups[0], CallOp::kAllGather, "too many", 8));
  rank.device_counts();
  EXPECT_FALSE(rank.calls.put(*rank.groups[0], CallOp::kAllGather, "the first still runs", 8));
  rank.device_counts();
  EXPECT_TRUE(rank.calls.put(*rank.groups[0], CallOp::kAllGather, "there is room", 8));
  rank.device_counts(2 * WireCalls::kQueued);
  EXPECT_STREQ(rank.log->snapshot().calls.back().label, "there is room");
}

// The rank that put another call is named, though its host is far ahead; one whose device never came is named too.
TEST(WireCalls, LetTheDiagnosisNameTheCulprit) {
  Rank first(0), odd(1);
  for (Rank* rank : {&first, &odd}) {
    rank->put("blocks.0");
    rank->put(rank == &odd ? "blocks.2" : "blocks.1");
    rank->put("blocks.3");
    rank->device_counts(3);
  }
  EXPECT_EQ(diagnose({first.log->snapshot(), odd.log->snapshot()})
                .find("rank 0 issued all_gather \"blocks.1\" (group "
                      "nccl.world, call 2, 8 bytes) where rank 1"),
            std::string::npos);
  EXPECT_EQ(diagnose({first.log->snapshot(), odd.log->snapshot()})
                .find("rank 1 issued all_gather \"blocks.2\" (group nccl.world, call 2, 8 bytes) where rank 0 issued"),
            0u);
  Rank waiting(0), late(1);
  for (Rank* rank : {&waiting, &late}) rank->put("blocks.0");
  waiting.device_counts();
  EXPECT_EQ(diagnose({waiting.log->snapshot(), late.log->snapshot()})
                .find("rank 1 has not entered all_gather \"blocks.0\" (group nccl.world, call 1, 8 bytes), in which "
                      "rank 0 waits"),
            0u);
}

TEST(WireCalls, AreToldWhileTheLogIsReadAndOthersArePut) {
  Rank rank(0);
  std::atomic<bool> stop{false};
  std::thread reader([&] {
    while (!stop)
      for (const Call& call : rank.log->snapshot().calls) EXPECT_EQ(call.bytes, call.number * 3);
  });
  std::thread device([&] {
    for (int i = 0; i < 4000; ++i) {
      while (!rank.calls.earliest_of(*rank.groups[0])) std::this_thread::yield();
      rank.device_counts();
    }
  });
  for (int i = 1; i <= 2000; ++i)
    while (!rank.calls.put(*rank.groups[0], CallOp::kAllGather, "x", i * 3)) std::this_thread::yield();
  device.join();
  stop = true;
  reader.join();
  EXPECT_EQ(rank.log->snapshot().calls.back().number, 2000);
  EXPECT_EQ(rank.log->longest_running_ns(), 0);
}

// The device's number goes away with the calls; the log stays and is read.
TEST(WireCalls, AreNotAskedAfterTheirEnd) {
  auto log = std::make_shared<CallLog>(0);
  CallLog::Group& group = log->make_group("nccl.world", {0, 1});
  group.finish();
  {
    auto marks = std::make_unique<uint64_t>(0);
    WireCalls calls(log, marks.get());
    ASSERT_TRUE(calls.put(group, CallOp::kAllGather, "a", 8));
    *marks = 2;
  }
  EXPECT_EQ(log->snapshot().calls.size(), 1u);
}

}  // namespace
}  // namespace shardit

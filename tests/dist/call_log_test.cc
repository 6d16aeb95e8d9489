#include "dist/call_log.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

namespace shardit {
namespace {

CallLog::Group& made(CallLog& log, const std::string& name, const std::vector<int>& ranks) {
  CallLog::Group& group = log.make_group(name, ranks);
  group.finish();
  return group;
}

void call(CallLog::Group& group, CallOp op, const char* label, int64_t bytes) {
  group.begin(op, label, bytes);
  group.finish();
}

TEST(CallLog, KeepsTheLastCallsOfEachGroup) {
  CallLog log(0);
  CallLog::Group& busy = made(log, "shard", {0, 1});
  CallLog::Group& quiet = made(log, "control", {0, 1});
  call(quiet, CallOp::kBarrier, "vote", 0);
  for (int i = 0; i < 3 * CallLog::kKept; ++i) call(busy, CallOp::kAllGather, "unit", i);
  const RankCalls calls = log.snapshot();
  ASSERT_EQ(calls.calls.size(), static_cast<size_t>(CallLog::kKept) + 2);
  EXPECT_STREQ(calls.calls[1].label, "vote");
  EXPECT_EQ(calls.calls.back().number, 3 * CallLog::kKept);
  EXPECT_EQ(calls.calls.back().bytes, 3 * CallLog::kKept - 1);
}

TEST(CallLog, ACallRunsUntilItIsFinished) {
  CallLog log(3);
  CallLog::Group& group = made(log, "shard", {3, 4});
  EXPECT_EQ(log.longest_running_ns(), 0);
  group.begin(CallOp::kAllToAll, "blocks.7", 100);
  std::this_thread::sleep_for(std::chrono::milliseconds(2));
  EXPECT_GE(log.longest_running_ns(), 2'000'000);
  EXPECT_TRUE(log.snapshot().calls.back().running());
  group.finish();
  EXPECT_EQ(log.longest_running_ns(), 0);
  EXPECT_FALSE(log.snapshot().calls.back().running());
}

TEST(CallLog, HashNamesOpBytesLabelGroupAndOrder) {
  const auto hash_of = [](const std::string& name, CallOp op, const char* label, int64_t bytes, int times) {
    CallLog log(0);
    CallLog::Group& group = made(log, name, {0, 1});
    for (int i = 0; i < times; ++i) call(group, op, label, bytes);
    return log.hash();
  };
  const uint64_t one = hash_of("shard", CallOp::kAllGather, "a", 8, 1);
  EXPECT_EQ(one, hash_of("shard", CallOp::kAllGather, "a", 8, 1));
  EXPECT_NE(one, hash_of("world", CallOp::kAllGather, "a", 8, 1));
  EXPECT_NE(one, hash_of("shard", CallOp::kAllToAll, "a", 8, 1));
  EXPECT_NE(one, hash_of("shard", CallOp::kAllGather, "b", 8, 1));
  EXPECT_NE(one, hash_of("shard", CallOp::kAllGather, "a", 9, 1));
  EXPECT_NE(one, hash_of("shard", CallOp::kAllGather, "a", 8, 2));
}

TEST(CallLog, HashDoesNotDependOnHowGroupsInterleave) {
  CallLog a(0), b(1);
  CallLog::Group &a1 = made(a, "x", {0, 1}), &a2 = made(a, "y", {0, 1});
  CallLog::Group &b1 = made(b, "x", {0, 1}), &b2 = made(b, "y", {0, 1});
  for (int i = 0; i < 3; ++i) call(a1, CallOp::kBarrier, "m", i);
  for (int i = 0; i < 3; ++i) call(a2, CallOp::kBarrier, "n", i);
  for (int i = 0; i < 3; ++i) {
    call(b2, CallOp::kBarrier, "n", i);
    call(b1, CallOp::kBarrier, "m", i);
  }
  EXPECT_EQ(a.hash(), b.hash());
  call(a1, CallOp::kBarrier, "m", 3);
  call(b2, CallOp::kBarrier, "m", 3);
  EXPECT_NE(a.hash(), b.hash());
}

TEST(CallLog, GroupsOfOneNameAndOtherRanksAreTold) {
  CallLog log(0);
  made(log, "shard", {0, 1});
  made(log, "shard", {0, 2});
  const RankCalls calls = log.snapshot();
  EXPECT_NE(calls.calls[0].group_id, calls.calls[1].group_id);
}

TEST(CallLog, CutsLongLabels) {
  CallLog log(0);
  call(made(log, std::string(100, 'g'), {0}), CallOp::kBarrier, std::string(100, 'l').c_str(), 0);
  EXPECT_EQ(describe(log.snapshot().calls.back()),
            "barrier \"" + std::string(47, 'l') + "\" (group " + std::string(23, 'g') + ", call 1)");
}

TEST(CallLog, IsReadWhileItIsWritten) {
  CallLog log(0);
  CallLog::Group& group = made(log, "shard", {0, 1});
  std::atomic<bool> stop{false};
  std::thread reader([&] {
    while (!stop)
      for (const Call& c : log.snapshot().calls) EXPECT_EQ(c.bytes, c.number * 3);
  });
  for (int i = 1; i <= 5000; ++i) call(group, CallOp::kBroadcast, "x", i * 3);
  stop = true;
  reader.join();
}

}  // namespace
}  // namespace shardit

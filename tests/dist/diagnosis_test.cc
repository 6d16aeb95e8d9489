#include "dist/diagnosis.h"

#include <gtest/gtest.h>

#include <cstring>

namespace shardit {
namespace {

constexpr int64_t kSecond = 1'000'000'000;

Call call(int64_t number, CallOp op, const char* label, int64_t bytes, bool running, const char* group = "shard") {
  Call c{.group_id = static_cast<uint64_t>(group[0]), .op = op, .number = number, .bytes = bytes};
  std::strcpy(c.group, group);
  std::strcpy(c.label, label);
  c.started_ns = number * kSecond;
  c.finished_ns = running ? 0 : c.started_ns + kSecond / 2;
  return c;
}

RankCalls rank(int rank, std::vector<Call> calls) {
  return {.rank = rank, .now_ns = 100 * kSecond, .calls = std::move(calls)};
}
RankCalls silent(int rank) { return {.rank = rank, .answered = false}; }

const Call kDone = call(6, CallOp::kReduceScatter, "blocks.6", 64, false);
const Call kGather = call(7, CallOp::kAllGather, "blocks.7", 4096, true);

std::string first_line(const std::vector<RankCalls>& ranks) {
  const std::string text = diagnose(ranks);
  return text.substr(0, text.find('\n'));
}

TEST(Diagnosis, NamesTheRankThatHasNotEntered) {
  EXPECT_EQ(
      diagnose({rank(0, {kDone, kGather}), rank(1, {kDone}), rank(2, {kDone, kGather})}),
      "rank 1 has not entered all_gather \"blocks.7\" (group shard, call 7, 4096 bytes), in which ranks 0 2 wait\n"
      "rank 1: after reduce_scatter \"blocks.6\" (group shard, call 6, 64 bytes), in no call for 93.5 s\n"
      "ranks 0 2: in all_gather \"blocks.7\" (group shard, call 7, 4096 bytes) for 93.0 s");
}

TEST(Diagnosis, NamesTheRankThatIssuedAnotherCall) {
  const Call other = call(7, CallOp::kReduceScatter, "blocks.8", 128, true);
  EXPECT_EQ(
      first_line({rank(0, {kDone, kGather}), rank(1, {kDone, kGather}), rank(2, {kDone, other})}),
      "rank 2 issued reduce_scatter \"blocks.8\" (group shard, call 7, 128 bytes) where ranks 0-1 issued all_gather "
      "\"blocks.7\" (group shard, call 7, 4096 bytes)");
}

TEST(Diagnosis, ADifferenceInBytesLabelOrRootIsAnotherCall) {
  for (const Call& other :
       {call(7, CallOp::kAllGather, "blocks.7", 4095, true), call(7, CallOp::kAllGather, "b", 4096, true)})
    EXPECT_EQ(first_line({rank(0, {other}), rank(1, {kGather}), rank(2, {kGather})}).substr(0, 13), "rank 0 issued");
  Call a = call(7, CallOp::kBroadcast, "x", 1, true), b = a;
  b.root = 1;
  EXPECT_EQ(first_line({rank(0, {a}), rank(1, {b}), rank(2, {a})}).substr(0, 13), "rank 1 issued");
}

// A call of no bytes does not wait; what differs there is seen at the calls that follow.
TEST(Diagnosis, GoesBackToTheFirstDifference) {
  const Call a = call(6, CallOp::kAllGather, "empty", 0, false), b = call(6, CallOp::kAllToAll, "empty", 0, false);
  EXPECT_EQ(
      first_line({rank(0, {a, kGather}), rank(1, {a, kGather}), rank(2, {b, kGather})}),
      "rank 2 issued all_to_all \"empty\" (group shard, call 6, 0 bytes) where ranks 0-1 issued all_gather \"empty\" "
      "(group shard, call 6, 0 bytes)");
}

TEST(Diagnosis, NamesTheRankThatDoesNotAnswer) {
  EXPECT_EQ(first_line({rank(0, {kDone, kGather}), rank(1, {kDone, kGather}), silent(2)}),
            "rank 2 does not answer; ranks 0-1 wait in all_gather \"blocks.7\" (group shard, call 7, 4096 bytes)");
}

// Rank 0 waits for 1 in one group, 1 waits for 2 in another: 2 holds both up.
TEST(Diagnosis, FollowsTheChainOfWaitsToItsEnd) {
  const Call left = call(3, CallOp::kBarrier, "l", 0, false, "left"),
             right = call(3, CallOp::kBarrier, "r", 0, false, "right");
  const Call left_waits = call(4, CallOp::kBarrier, "l", 0, true, "left");
  const Call right_waits = call(4, CallOp::kBarrier, "r", 0, true, "right");
  EXPECT_EQ(first_line({rank(0, {left, left_waits}), rank(1, {left, right, right_waits}), rank(2, {right})}),
            "rank 2 has not entered barrier \"r\" (group right, call 4), in which rank 1 waits");
}

TEST(Diagnosis, SaysWhenRanksWaitForEachOther) {
  const Call left = call(3, CallOp::kBarrier, "l", 0, false, "left"),
             right = call(3, CallOp::kBarrier, "r", 0, false, "right");
  const Call left_waits = call(4, CallOp::kBarrier, "l", 0, true, "left");
  const Call right_waits = call(4, CallOp::kBarrier, "r", 0, true, "right");
  EXPECT_EQ(
      first_line({rank(0, {left, right, left_waits}), rank(1, {left, right, right_waits})}),
      "the ranks wait for each other in different calls: rank 0 waits in barrier \"l\" (group left, call 4), rank 1 "
      "elsewhere");
}

TEST(Diagnosis, SaysThatAMessageWasLost) {
  const Call through = call(7, CallOp::kAllGather, "blocks.7", 4096, false);
  EXPECT_EQ(
      first_line({rank(0, {kGather}), rank(1, {through}), rank(2, {kGather})}),
      "a message was lost: ranks 0 2 wait in all_gather \"blocks.7\" (group shard, call 7, 4096 bytes), which all have "
      "entered and rank 1 left");
}

TEST(Diagnosis, OtherGroupsOfTheSameNameDoNotCount) {
  Call elsewhere = call(7, CallOp::kAllGather, "blocks.9", 1, false);
  elsewhere.group_id = 99;
  EXPECT_EQ(first_line({rank(0, {kDone, kGather}), rank(1, {kDone}), rank(2, {elsewhere})}),
            "rank 1 has not entered all_gather \"blocks.7\" (group shard, call 7, 4096 bytes), in which rank 0 waits");
}

TEST(Diagnosis, SaysWhoHasMadeAGroupAlone) {
  const Call making = call(0, CallOp::kMakeGroup, "", 0, true);
  EXPECT_EQ(diagnose({rank(0, {making}), rank(1, {})}),
            "rank 0 waits in make_group (group shard); others of the group have not come\n"
            "rank 0: in make_group (group shard) for 100.0 s\n"
            "rank 1: has made no call");
}

TEST(Diagnosis, TakesThreeLinesWhereOneOfManyRanksIsElsewhere) {
  std::vector<RankCalls> ranks;
  for (int r = 0; r < 64; ++r) ranks.push_back(r == 17 ? rank(r, {kDone}) : rank(r, {kDone, kGather}));
  ranks[40].now_ns += kSecond;
  EXPECT_EQ(diagnose(ranks),
            "rank 17 has not entered all_gather \"blocks.7\" (group shard, call 7, 4096 bytes), in which ranks 0-16 "
            "18-63 wait\n"
            "rank 17: after reduce_scatter \"blocks.6\" (group shard, call 6, 64 bytes), in no call for 93.5 s\n"
            "ranks 0-16 18-63: in all_gather \"blocks.7\" (group shard, call 7, 4096 bytes) for 94.0 s");
}

TEST(Diagnosis, ListsRanksInRuns) {
  EXPECT_EQ(list_ranks({4}), "rank 4");
  EXPECT_EQ(list_ranks({0, 1, 2, 5, 7, 8}), "ranks 0-2 5 7-8");
}

}  // namespace
}  // namespace shardit

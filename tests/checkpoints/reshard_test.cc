#include "checkpoints/reshard.h"

#include <gtest/gtest.h>

#include "checkpoints/inspect.h"
#include "tests/checkpoints/losses.h"
#include "tests/checkpoints/sharded_state.h"
#include "tests/checkpoints/watched_files.h"

namespace shardit {
namespace {

const std::string kStep = "/checkpoints/step-00001000";

// A run that `writers` ranks saved, and an empty run directory beside it.
struct Source {
  FaultyFiles files;
  Checkpoint from;

  explicit Source(int writers) {
    make_run(files);
    EXPECT_EQ(save_by_ranks(files, writers, 1000, 1), all_done(writers));
    from = open_step(files, "run", 1000);
    files.make_dir("other");
    files.sync_dir("");
  }
  SaveReport reshard_to(int ranks, int64_t budget_bytes = kReshardBudgetBytes) {
    return reshard(files, plan_reshard(from, odd_layout(), ranks, budget_bytes), "other");
  }
};

int64_t least_budget(const Checkpoint& from, int ranks) {
  const std::string message = error_of<UserError>([&] { plan_reshard(from, odd_layout(), ranks, 1); });
  const std::string before = "--memory-budget is 1 bytes, this reshard needs ";
  EXPECT_TRUE(message.starts_with(before)) << message;
  return std::stoll(message.substr(before.size()));
}

TEST(Reshard, WritesTheBytesThatSoManyRanksWrite) {
  for (int writers : {1, 2, 3, 4, 7})
    for (int ranks : {1, 2, 3, 4, 7}) {
      Source source(writers);
      FaultyFiles direct;
      make_run(direct);
      save_by_ranks(direct, ranks, 1000, 1);
      for (const int64_t budget_bytes : {kReshardBudgetBytes, least_budget(source.from, ranks)}) {
        const SaveReport report = source.reshard_to(ranks, budget_bytes);
        EXPECT_EQ(report.root, source.from.manifest.root);
        const std::vector<std::string> names = direct.list("run" + kStep);
        EXPECT_EQ(source.files.list("other" + kStep), names);
        for (const std::string& name : names)
          EXPECT_TRUE(source.files.bytes("other" + kStep + "/" + name) == direct.bytes("run" + kStep + "/" + name))
              << writers << " to " << ranks << ": " << name;
        const Checkpoint written = open_checkpoint(source.files, "other");
        EXPECT_EQ(verify_checkpoint(source.files, written), report.bytes);
        EXPECT_TRUE(diff_checkpoints(source.files, source.from, written).equal);
        source.files.rename("other" + kStep, "elsewhere-" + std::to_string(budget_bytes));
      }
    }
}

TEST(Reshard, MovesNoMoreAtATimeThanItsBudgetAllows) {
  Source source(3);
  for (const int64_t chunks : {1, 2, 1 << 20}) {
    const int64_t least = least_budget(source.from, 4);
    const ReshardPlan plan = plan_reshard(source.from, odd_layout(), 4, least + (chunks - 1) * 4 * kChunk + 100);
    EXPECT_EQ(plan.slice_elements, std::min(chunks * kChunk, kSliceElements));
    WatchedFiles watched(source.files);
    reshard(watched, plan, "other");
    EXPECT_LE(watched.largest_read, plan.slice_elements * 4);
    EXPECT_EQ(watched.most_open, 1);
    source.files.rename("other" + kStep, "elsewhere-" + std::to_string(chunks));
  }
}

TEST(Reshard, WithATooSmallBudgetSaysTheLeastThatWorks) {
  Source source(3);
  const int64_t least = least_budget(source.from, 4);
  EXPECT_GT(least, 4 * kChunk);
  EXPECT_HAS(error_of<UserError>([&] { plan_reshard(source.from, odd_layout(), 4, least - 1); }),
             "needs " + std::to_string(least) + " at least");
  source.reshard_to(4, least);
}

TEST(Reshard, NeverWritesOverAStep) {
  Source source(3);
  source.reshard_to(4);
  EXPECT_HAS(error_of<UserError>([&] { source.reshard_to(2); }), "other" + kStep + " is there already");
  source.files.rename("other" + kStep, "other/checkpoints/.step-00001000.replaced");
  EXPECT_HAS(error_of<UserError>([&] { source.reshard_to(2); }), ".step-00001000.replaced is there already");
}

TEST(Reshard, OfAnotherModelIsTheUsersMistake) {
  Source source(2);
  Layout larger = odd_layout(), smaller = odd_layout(), other = odd_layout();
  larger.units[1].add("tiny.more", {2}, {});
  smaller.units.pop_back();
  other.units[1].params[0].shape = {6};
  const auto refusal = [&](const Layout& layout) {
    return error_of<UserError>([&] { plan_reshard(source.from, layout, 2, kReshardBudgetBytes); });
  };
  EXPECT_HAS(refusal(larger), "lacks params/tiny.more, adam.m/tiny.more, ema.slow/tiny.more");
  EXPECT_HAS(refusal(smaller), "also holds adam.m/block.bias");
  EXPECT_HAS(refusal(other), "params/tiny.scale (fp32 [5], expected fp32 [6])");
}

TEST(Reshard, OfADamagedSourceNamesItAndLeavesNothing) {
  Source source(3);
  const TensorRange range = source.from.manifest.find("adam.m/block.proj")->ranges[1];
  source.files.bytes("run" + kStep + "/" + source.from.manifest.files[range.file].name)[range.file_offset] ^= 1;
  const std::string message = error_of<IoError>([&] { source.reshard_to(2); });
  EXPECT_HAS(message, "tensor 'adam.m/block.proj' is damaged");
  EXPECT_HAS(message, "in run" + kStep);
  EXPECT_TRUE(source.files.list("other/checkpoints").empty());
}

// The source as it was; the copy whole or not there, before and after recovery.
void check_after_crash(Source& source, int call) {
  verify_checkpoint(source.files, source.from);
  for (int i = 0; i < 2; ++i) {
    const NewestCheckpoint newest = find_newest(source.files, "other");
    EXPECT_TRUE(newest.problems.empty()) << "call " << call;
    if (newest.checkpoint) verify_checkpoint(source.files, *newest.checkpoint);
    recover(source.files, "other");
  }
}

TEST(Reshard, KilledAtAnyCallLeavesTheWholeCopyOrNone) {
  for (const Loss& loss : losses(4))
    for (int call = 1;; ++call) {
      Source source(2);
      source.files.kill_at(call);
      bool was_killed = false;
      try {
        source.reshard_to(3);
      } catch (const Killed&) {
        was_killed = true;
      }
      source.files.crash(loss.survives, loss.seed);
      check_after_crash(source, call);
      if (!was_killed) break;
      if (find_newest(source.files, "other").checkpoint) continue;
      source.reshard_to(3);
      EXPECT_TRUE(find_newest(source.files, "other").checkpoint) << "it cannot be repeated, call " << call;
    }
}

TEST(Reshard, FailedAtAnyCallLeavesNothingUnfinished) {
  for (int call = 1;; ++call) {
    Source source(2);
    source.files.fail_at(call, ENOSPC);
    bool failed = false;
    try {
      source.reshard_to(3);
    } catch (const IoError& error) {
      failed = true;
      EXPECT_HAS(std::string(error.what()), "No space left on device");
    }
    source.files.no_faults();
    if (source.files.kind("other/checkpoints") == PathKind::kDirectory) {
      for (const std::string& name : source.files.list("other/checkpoints")) EXPECT_EQ(name, "step-00001000");
    }
    check_after_crash(source, call);
    if (!failed) break;
  }
}

}  // namespace
}  // namespace shardit

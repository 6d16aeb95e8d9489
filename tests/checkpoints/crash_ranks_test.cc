// A save by four ranks, killed at each file call of each rank and of the machine, under every notion of what a crash
// may lose. Between the votes ranks run side by side, so that a kill meets the others anywhere on their way.
#include <gtest/gtest.h>

#include <functional>

#include "tests/checkpoints/losses.h"
#include "tests/checkpoints/sharded_state.h"

namespace shardit {
namespace {

constexpr int kRanks = 4;
constexpr int kEachProcessAndAll[] = {FaultyFiles::kAll, 0, 1, 2, 3};

bool any_killed(const Ends& ends) { return std::count(ends.begin(), ends.end(), "killed") > 0; }

// Kills the new save of `step` at call `call` of `victim`, over what `prepare` left. True if the save got that far.
bool kill_once(const std::function<void(FaultyFiles&)>& prepare, int64_t step, int old_variant, const Loss& loss,
               int victim, int call) {
  FaultyFiles files;
  make_run(files);
  prepare(files);
  files.kill_at(call, victim);
  const Ends ends = save_by_ranks(files, kRanks, step, 1);
  const bool was_killed = any_killed(ends);
  for (const std::string& end : ends)  // the others noticed, or were through
    EXPECT_TRUE(end == "killed" || end == "done" || end.starts_with("CommError")) << end;
  files.crash(loss.survives, loss.seed);
  const int before = sharded_variant_on_disk(files);
  recover(files, "run");
  EXPECT_TRUE(before == 1 || (was_killed && before == old_variant)) << "victim " << victim << ", call " << call;
  EXPECT_EQ(before, sharded_variant_on_disk(files)) << "recover lost what was valid, call " << call;
  EXPECT_EQ(save_by_ranks(files, kRanks, step, 2), all_done(kRanks));
  EXPECT_EQ(sharded_variant_on_disk(files), 2) << "the run cannot save again, call " << call;
  return was_killed;
}

// Returns the calls of the machine in a whole save.
int kill_everywhere(const std::function<void(FaultyFiles&)>& prepare, int64_t step, int old_variant) {
  int calls = 0;
  for (int victim : kEachProcessAndAll)
    for (const Loss& loss : losses(victim == FaultyFiles::kAll ? 8 : 2)) {
      int call = 1;
      while (!testing::Test::HasFailure() && kill_once(prepare, step, old_variant, loss, victim, call)) ++call;
      calls = std::max(calls, call - 1);
    }
  return calls;
}

TEST(CrashOfRanks, TheFirstSaveIsThereWholeOrNotAtAll) {
  EXPECT_GT(kill_everywhere([](FaultyFiles&) {}, 1000, -1), 50);
}

TEST(CrashOfRanks, AnOlderStepSurvivesTheSaveOfANewerOne) {
  EXPECT_GT(kill_everywhere([](FaultyFiles& files) { save_by_ranks(files, kRanks, 1000, 0); }, 2000, 0), 50);
}

TEST(CrashOfRanks, SavingAStepAgainLeavesTheOldOrTheNew) {
  EXPECT_GT(kill_everywhere([](FaultyFiles& files) { save_by_ranks(files, kRanks, 1000, 0); }, 1000, 0), 60);
}

}  // namespace
}  // namespace shardit

// A save, killed or failed at each of its file calls, under every notion of what a crash may lose.
#include <gtest/gtest.h>

#include <functional>

#include "checkpoints/directory.h"
#include "checkpoints/load.h"
#include "tests/checkpoints/losses.h"
#include "tests/checkpoints/tiny_state.h"

namespace shardit {
namespace {

// The variant that the newest valid checkpoint holds, after reading all of it: -1 if there is none.
int variant_on_disk(FileSystem& files) {
  const NewestCheckpoint newest = find_newest(files, "run");
  if (!newest.checkpoint) return -1;
  TinyState loaded;
  load_checkpoint(files, *newest.checkpoint, loaded.tensors());
  verify_checkpoint(files, *newest.checkpoint);
  for (int variant = 0; variant < 4; ++variant)
    if (loaded == TinyState(variant)) return variant;
  ADD_FAILURE() << "the checkpoint holds neither the old nor the new state";
  return -2;
}

bool killed(const std::function<void()>& body) {
  try {
    body();
    return false;
  } catch (const Killed&) {
    return true;
  }
}

// Kills save(step, new variant) at every call, over what `prepare` left on disk. Returns the calls of a whole save.
int kill_everywhere(const std::function<void(FaultyFiles&)>& prepare, int64_t step, int old_variant, int new_variant) {
  for (const Loss& loss : losses(20))
    for (int call = 1;; ++call) {
      FaultyFiles files;
      make_run(files);
      prepare(files);
      files.kill_at(call);
      const bool was_killed = killed([&] { save_tiny(files, step, new_variant); });
      files.crash(loss.survives, loss.seed);
      const int before = variant_on_disk(files);
      recover(files, "run");
      const int after = variant_on_disk(files);
      EXPECT_TRUE(before == new_variant || (was_killed && before == old_variant)) << "call " << call << ": " << before;
      EXPECT_EQ(before, after) << "recover lost what was valid, call " << call;
      save_tiny(files, step, 3);
      EXPECT_EQ(variant_on_disk(files), 3) << "the run cannot save again, call " << call;
      if (!was_killed && loss.survives == Survives::kAnything && loss.seed == 20) return call - 1;
      if (!was_killed || testing::Test::HasFailure()) break;
    }
  return 0;
}

TEST(Crash, TheFirstSaveIsThereWholeOrNotAtAll) {
  EXPECT_GT(kill_everywhere([](FaultyFiles&) {}, 1000, -1, 1), 15);
}

TEST(Crash, AnOlderStepSurvivesTheSaveOfANewerOne) {
  EXPECT_GT(kill_everywhere([](FaultyFiles& files) { save_tiny(files, 1000, 0); }, 2000, 0, 1), 15);
}

TEST(Crash, SavingAStepAgainLeavesTheOldOrTheNew) {
  EXPECT_GT(kill_everywhere([](FaultyFiles& files) { save_tiny(files, 1000, 0); }, 1000, 0, 1), 20);
}

TEST(Crash, AnInterruptedResaveMayItselfBeInterrupted) {
  const auto interrupted = [](FaultyFiles& files) {
    save_tiny(files, 1000, 0);
    files.rename("run/checkpoints/step-00001000", "run/checkpoints/.step-00001000.replaced");
    files.sync_dir("run/checkpoints");
  };
  EXPECT_GT(kill_everywhere(interrupted, 1000, 0, 1), 20);
}

TEST(Crash, RecoveryMayBeKilledAtEveryCall) {
  for (int save_call = 1; save_call < 60; ++save_call)
    for (int recover_call = 1; recover_call < 40; ++recover_call) {
      FaultyFiles files;
      make_run(files);
      save_tiny(files, 1000, 0);
      files.kill_at(save_call);
      killed([&] { save_tiny(files, 1000, 1); });
      files.crash(Survives::kNothing);
      const int before = variant_on_disk(files);
      files.kill_at(recover_call);
      const bool was_killed = killed([&] { recover(files, "run"); });
      files.crash(Survives::kAnything, save_call * 64 + recover_call);
      EXPECT_EQ(variant_on_disk(files), before) << save_call << " " << recover_call;
      if (!was_killed) break;
    }
}

TEST(Crash, PruningMayBeKilledAtEveryCall) {
  for (const Loss& loss : losses(20))
    for (int call = 1; call < 60; ++call) {
      FaultyFiles files;
      make_run(files);
      for (int i = 0; i < 3; ++i) save_tiny(files, 1000 * (i + 1), i);
      files.kill_at(call);
      killed([&] { prune(files, "run", 1, 0); });
      files.crash(loss.survives, loss.seed);
      recover(files, "run");
      EXPECT_EQ(variant_on_disk(files), 2);
      for (const std::string& name : files.list("run/checkpoints")) {
        ASSERT_TRUE(step_of_name(name)) << name;
        open_step(files, "run", *step_of_name(name));  // throws if half of it was deleted
      }
    }
}

// --- errors instead of kills ---

TEST(FailedSave, AtEveryCallLeavesTheOldCheckpointAndCanBeRepeated) {
  for (int error : {ENOSPC, EIO})
    for (int call = 1;; ++call) {
      FaultyFiles files;
      make_run(files);
      save_tiny(files, 1000, 0);
      files.fail_at(call, error);
      bool failed = false;
      try {
        save_tiny(files, 1000, 1);
      } catch (const IoError& thrown) {
        failed = true;
        EXPECT_EQ(files.kind("run/checkpoints/step-00001000"), PathKind::kDirectory) << "call " << call;
        EXPECT_HAS(std::string(thrown.what()), error == ENOSPC ? "No space left on device" : "Input/output error");
      }
      files.no_faults();
      const int variant = variant_on_disk(files);
      EXPECT_TRUE(failed ? variant == 0 || variant == 1 : variant == 1) << "call " << call;
      save_tiny(files, 1000, 2);
      files.crash(Survives::kNothing);
      EXPECT_EQ(variant_on_disk(files), 2) << "the repeated save was not durable, call " << call;
      if (!failed && call > 60) break;
    }
}

TEST(FailedSave, FollowedByACrashLeavesTheOldOrTheNew) {
  for (const Loss& loss : losses(20))
    for (int call = 1; call < 60; ++call) {
      FaultyFiles files;
      make_run(files);
      save_tiny(files, 1000, 0);
      files.fail_at(call, EIO);
      try {
        save_tiny(files, 1000, 1);
      } catch (const IoError&) {}
      files.crash(loss.survives, loss.seed);
      const int variant = variant_on_disk(files);
      EXPECT_TRUE(variant == 0 || variant == 1) << "call " << call;
    }
}

TEST(FailedSave, OfANewRunCanBeRepeatedDurably) {
  for (int call = 1; call < 40; ++call) {
    FaultyFiles files;
    make_run(files);
    files.fail_at(call, EIO);
    try {
      save_tiny(files, 1000, 1);
    } catch (const IoError&) {}
    files.no_faults();
    try {
      save_tiny(files, 1000, 2);
    } catch (const IoError& error) {
      ADD_FAILURE() << error.what();
    }
    files.crash(Survives::kNothing);
    EXPECT_EQ(variant_on_disk(files), 2) << "call " << call;
  }
}

TEST(FailedSave, GivesTheDiskSpaceBack) {
  FaultyFiles files;
  make_run(files);
  save_tiny(files, 1000, 0);
  const int64_t used = files.used();
  files.claimed_free = int64_t{1} << 40;  // another program fills the disk after the check
  bool failed = true;
  for (int64_t room = 0; failed && room < 100'000; room += 997) {
    files.capacity = used + room;
    failed = false;
    try {
      save_tiny(files, 2000, 1);
    } catch (const IoError& error) {
      failed = true;
      EXPECT_HAS(std::string(error.what()), "No space left on device");
    }
    EXPECT_EQ(variant_on_disk(files), failed ? 0 : 1);
    EXPECT_TRUE(!failed || files.used() == used);
  }
  EXPECT_FALSE(failed);
}

TEST(FailedSave, IsRefusedBeforeItBeginsIfTheDiskIsTooSmall) {
  FaultyFiles files;
  make_run(files);
  files.capacity = 10'000'000;
  const std::string message = error_of<IoError>([&] { save_tiny(files, 1000, 0); });
  EXPECT_HAS(message, "needs 1678");  // 16 MiB and the state
  EXPECT_HAS(message, "bytes, the disk has 10000000 free");
  EXPECT_TRUE(files.list("run/checkpoints").empty());
}

}  // namespace
}  // namespace shardit

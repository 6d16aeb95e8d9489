#include <gtest/gtest.h>

#include <set>

#include "checkpoints/directory.h"
#include "checkpoints/load.h"
#include "tests/checkpoints/sharded_state.h"

namespace shardit {
namespace {

const std::string kStep = "run/checkpoints/step-00001000";

TEST(SaveSharded, OfAnyNumberOfRanksHasTheSameRootDigestAndTheSameBits) {
  FaultyFiles alone;
  make_run(alone);
  const ShardedState whole(0, 1, 1);
  const SaveReport expected = save_checkpoint(alone, "run", run_at(1000), whole.tensors());
  for (int ranks = 1; ranks <= 7; ++ranks) {
    FaultyFiles files;
    make_run(files);
    std::vector<SaveReport> reports(ranks);
    const Ends ends = with_ranks(ranks, [&](Communicator& writers) {
      const ShardedState state(writers.rank(), ranks, 1);
      reports[writers.rank()] = save_sharded(files, writers, "run", run_by(ranks, 1000), state.parts());
    });
    EXPECT_EQ(ends, all_done(ranks));
    for (const SaveReport& report : reports) {
      EXPECT_EQ(report.root, expected.root) << ranks << " ranks";
      EXPECT_EQ(report.path, kStep);
      EXPECT_EQ(report.bytes, reports[0].bytes);
    }
    const Checkpoint checkpoint = open_checkpoint(files, "run");
    EXPECT_EQ(verify_checkpoint(files, checkpoint), reports[0].bytes);
    ShardedState loaded(0, 1);
    load_checkpoint(files, checkpoint, loaded.tensors());
    EXPECT_TRUE(loaded == whole);
  }
}

TEST(SaveSharded, PutsEachRanksShardInItsOwnFile) {
  FaultyFiles files;
  make_run(files);
  save_by_ranks(files, 4, 1000, 1);
  const Manifest manifest = open_checkpoint(files, "run").manifest;
  ASSERT_EQ(manifest.files.size(), 4u);
  for (int rank = 0; rank < 4; ++rank)
    EXPECT_EQ(manifest.files[rank].name, "rank-0000" + std::to_string(rank) + ".safetensors");
  // The unit "block" has 9 chunks, 3 in each shard: 2 of qkv and 1 of proj, 3 of proj, 2 of proj and 1 of bias, none.
  const std::vector<TensorRange>& proj = manifest.find("params/block.proj")->ranges;
  ASSERT_EQ(proj.size(), 3u);
  for (int rank = 0; rank < 3; ++rank) EXPECT_EQ(proj[rank].file, rank);
  EXPECT_EQ(proj[1].first, kChunk);
  EXPECT_EQ(proj[2].count, 5 * 1025 - 4 * kChunk);
}

TEST(SaveSharded, ByARankThatHoldsNothingLeavesNoFile) {
  FaultyFiles files;
  make_run(files);
  EXPECT_EQ(save_by_ranks(files, 7, 1000, 1), all_done(7));
  EXPECT_EQ(files.list(kStep).size(), 5u + 1);  // 9 chunks dealt out by twos
}

TEST(SaveSharded, WithReplicasIsWrittenOnceAndAllOfThemVote) {
  FaultyFiles files;
  make_run(files);
  const auto save_by_two_of_four = [&] {
    return with_ranks(4, [&](Communicator& world) {
      const ShardedState state(world.rank() % 2, 2, 1);
      const bool writes = world.rank() < 2;
      save_sharded(files, world, "run", run_by(4, 1000), writes ? state.parts() : std::vector<TensorPart>());
    });
  };
  EXPECT_EQ(save_by_two_of_four(), all_done(4));
  EXPECT_EQ(files.list(kStep).size(), 2u + 1);
  files.fail_at(3, EIO, 1);
  EXPECT_EQ(save_by_two_of_four(),
            Ends(4,
                 "IoError: rank 1 of 4: write run/checkpoints/.step-00001000.partial/rank-00001.safetensors: "
                 "Input/output error\nthe disk or its network is failing: see the kernel log"));
}

// --- errors ---

// Whose fault it is, and at which call, in a save by four ranks.
TEST(FailedShardedSave, IsTheSameErrorOnEveryRankAndLeavesTheOldCheckpoint) {
  for (int64_t step : {1000, 2000})  // the same step again, and a newer one
    for (int victim = 0; victim < 4; ++victim)
      for (int call = 1;; ++call) {
        FaultyFiles files;
        make_run(files);
        save_by_ranks(files, 4, 1000, 0);
        files.fail_at(call, ENOSPC, victim);
        const Ends ends = save_by_ranks(files, 4, step, 1);
        files.no_faults();
        const int variant = sharded_variant_on_disk(files);
        EXPECT_EQ(std::set(ends.begin(), ends.end()).size(), 1u) << "they disagree";
        if (ends[0] != "done") {
          EXPECT_HAS(ends[0], victim == 0 ? "IoError: rank 0" : "IoError: rank " + std::to_string(victim) + " of 4: ");
          EXPECT_HAS(ends[0], "No space left on device");
        } else {
          EXPECT_EQ(variant, 1);
        }
        EXPECT_TRUE(variant == 0 || variant == 1);
        const std::vector<std::string> names = files.list("run/checkpoints");
        EXPECT_EQ(std::count(names.begin(), names.end(), ".step-0000" + std::to_string(step) + ".partial"), 0);
        EXPECT_EQ(save_by_ranks(files, 4, step, 2), all_done(4));
        files.crash(Survives::kNothing);
        EXPECT_EQ(sharded_variant_on_disk(files), 2) << "the repeated save was not durable, call " << call;
        if (ends[0] == "done" && call > 40) break;
      }
}

TEST(FailedShardedSave, OfAFullDiskUnderOneRankKeepsWhatWasThere) {
  FaultyFiles files;
  make_run(files);
  save_by_ranks(files, 4, 1000, 0);
  const int64_t used = files.used();
  files.fail_at(4, ENOSPC, 2);
  const Ends ends = save_by_ranks(files, 4, 2000, 1);
  EXPECT_EQ(ends[0].find("IoError: rank 2 of 4: write run/checkpoints/.step-00002000.partial/rank-00002.safetensors: "
                         "No space left on device\nfree space"),
            0u)
      << ends[0];
  EXPECT_EQ(ends, Ends(4, ends[0]));
  EXPECT_EQ(sharded_variant_on_disk(files), 0);
  EXPECT_EQ(files.used(), used);
}

TEST(FailedShardedSave, IsRefusedBeforeItBeginsIfTheFilesOfAllRanksDoNotFit) {
  FaultyFiles files;
  make_run(files);
  const int64_t margin = 16 << 20;
  files.capacity = margin + 100'000;  // one rank's file would fit
  const Ends ends = save_by_ranks(files, 4, 1000, 0);
  EXPECT_HAS(ends[3], "IoError: rank 0: a checkpoint in run/checkpoints needs 16");
  EXPECT_HAS(ends[3], "the disk has " + std::to_string(margin + 100'000) + " free");
  EXPECT_EQ(ends, Ends(4, ends[0]));
  EXPECT_TRUE(files.list("run/checkpoints").empty());
}

TEST(FailedShardedSave, ThatTheWholeDiskIsFullIsReportedOnce) {
  FaultyFiles files;
  make_run(files);
  files.capacity = 10'000;
  files.claimed_free = int64_t{1} << 40;
  const Ends ends = save_by_ranks(files, 4, 1000, 0);
  EXPECT_EQ(ends, Ends(4, ends[0]));
  EXPECT_HAS(ends[0], "IoError: rank ");
  EXPECT_HAS(ends[0], "more): write run/checkpoints/.step-00001000.partial/rank-0000");
  EXPECT_TRUE(files.list("run/checkpoints").empty());
}

}  // namespace
}  // namespace shardit

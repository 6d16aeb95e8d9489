#include "checkpoints/load_sharded.h"

#include <gtest/gtest.h>

#include "tests/checkpoints/sharded_state.h"
#include "tests/checkpoints/watched_files.h"

namespace shardit {
namespace {

const std::string kStep = "run/checkpoints/step-00001000";

std::string rank_file(int rank) { return kStep + "/rank-0000" + std::to_string(rank) + ".safetensors"; }

// A run that four ranks saved.
struct SavedByFour {
  FaultyFiles files;
  SavedByFour() {
    make_run(files);
    EXPECT_EQ(save_by_ranks(files, 4, 1000, 1), all_done(4));
  }
};

// Loads step 1000 as so many shards.
Ends load_by_ranks(FileSystem& files, int ranks) {
  return with_ranks(ranks, [&](Communicator& world) {
    ShardedState loaded(world.rank(), ranks);
    load_sharded(files, {world, &world}, open_step(files, world, "run", 1000), loaded.parts());
    EXPECT_TRUE(loaded == ShardedState(world.rank(), ranks, 1));
  });
}

TEST(LoadSharded, ByAnyNumberOfRanksReadsWhatAnyOtherWrote) {
  for (int writers = 1; writers <= 7; ++writers) {
    FaultyFiles files;
    make_run(files);
    save_by_ranks(files, writers, 1000, 1);
    for (int readers = 1; readers <= 7; ++readers)
      EXPECT_EQ(load_by_ranks(files, readers), all_done(readers)) << writers << " to " << readers;
  }
}

TEST(LoadSharded, ByReplicasAddsTheSumsWithinEach) {
  SavedByFour run;
  const Ends ends = end_of_ranks(6, [&](World& world) {
    const auto all = world.make_group("world");
    const int first = world.rank() / 2 * 2;
    const auto shard = world.make_group("shard", {first, first + 1});
    ShardedState loaded(shard->rank(), 2);
    load_sharded(run.files, {*all, shard.get()}, open_step(run.files, *all, "run", 1000), loaded.parts());
    EXPECT_TRUE(loaded == ShardedState(shard->rank(), 2, 1));
  });
  EXPECT_EQ(ends, all_done(6));
}

TEST(LoadSharded, ByReplicasFailsOnAllOfThemWhereOneRankCannotRead) {
  SavedByFour run;
  for (int victim = 0; victim < 4; ++victim) {
    const Ends ends = end_of_ranks(4, [&](World& world) {
      const auto all = world.make_group("world");
      const int first = world.rank() / 2 * 2;
      const auto shard = world.make_group("shard", {first, first + 1});
      const ShardedState state(shard->rank(), 2);
      const Checkpoint checkpoint = open_step(run.files, *all, "run", 1000);
      if (world.rank() == victim) run.files.fail_at(2, EIO, victim);
      load_sharded(run.files, {*all, shard.get()}, checkpoint, state.parts());
    });
    run.files.no_faults();
    EXPECT_EQ(ends, Ends(4, ends[0]));
    EXPECT_HAS(ends[0], "IoError: rank " + std::to_string(victim) + " of 4: read run/checkpoints/step-00001000/rank-");
  }
}

TEST(LoadSharded, WithoutAShardGroupGivesEachRankTheWholeState) {
  SavedByFour run;
  const Ends ends = with_ranks(3, [&](Communicator& world) {
    ShardedState loaded(0, 1);
    load_sharded(run.files, {world}, open_step(run.files, world, "run", 1000), loaded.parts());
    EXPECT_TRUE(loaded == ShardedState(0, 1, 1));
  });
  EXPECT_EQ(ends, all_done(3));
}

TEST(LoadSharded, ReadsOnlyItsRangesFromOneFileAtATime) {
  SavedByFour run;
  for (int readers : {1, 2, 3, 4, 7}) {
    const Ends ends = with_ranks(readers, [&](Communicator& world) {
      ShardedState loaded(world.rank(), readers);
      const Checkpoint checkpoint = open_step(run.files, world, "run", 1000);
      WatchedFiles watched(run.files);
      load_sharded(watched, {world, &world}, checkpoint, loaded.parts());
      int64_t bytes = 0;
      for (const TensorPart& part : loaded.parts()) bytes += 4 * part.count;
      EXPECT_EQ(watched.bytes_read, bytes);
      EXPECT_LE(watched.most_open, 1);
      for (const auto& [path, times] : watched.opened) EXPECT_EQ(times, 1) << path;
    });
    EXPECT_EQ(ends, all_done(readers));
  }
}

TEST(LoadSharded, OfOtherTensorsIsTheUsersMistakeOnEveryRank) {
  SavedByFour run;
  const auto load = [&](Communicator& world, bool more) {
    ShardedState state(world.rank(), 4);
    std::vector<TensorPart> parts = state.parts();
    if (more)
      parts.push_back({"params/new", DType::kF32, {7}});
    else
      parts.pop_back();
    load_sharded(run.files, {world, &world}, open_step(run.files, world, "run", 1000), parts);
  };
  const Ends lacks = with_ranks(4, [&](Communicator& world) { load(world, true); });
  EXPECT_EQ(lacks, Ends(4, lacks[0]));
  EXPECT_TRUE(lacks[0].starts_with("UserError: " + kStep + " lacks params/new")) << lacks[0];
  const Ends holds = with_ranks(4, [&](Communicator& world) { load(world, false); });
  EXPECT_TRUE(holds[3].starts_with("UserError: " + kStep + " also holds ema.slow/block.bias")) << holds[3];
}

// --- damage and errors ---

TEST(LoadSharded, NamesADamagedTensorOnEveryRank) {
  SavedByFour run;
  const Manifest manifest = open_step(run.files, "run", 1000).manifest;
  for (const TensorEntry& tensor : manifest.tensors)
    for (const TensorRange& range : tensor.ranges)
      for (int64_t at : {range.file_offset, range.file_offset + 4 * range.count - 1}) {
        std::string& bytes = run.files.bytes(kStep + "/" + manifest.files[range.file].name);
        bytes[at] ^= 1;
        const Ends ends = with_ranks(3, [&](Communicator& world) {
          ShardedState state(world.rank(), 3);
          load_sharded(run.files, {world, &world}, open_step(run.files, world, "run", 1000), state.parts());
        });
        bytes[at] ^= 1;
        EXPECT_EQ(ends, Ends(3, ends[0]));
        EXPECT_HAS(ends[0], "IoError: tensor '" + tensor.name + "' is damaged");
        EXPECT_HAS(ends[0], manifest.files[tensor.ranges[0].file].name + ", from offset " +
                                std::to_string(tensor.ranges[0].file_offset));
      }
  EXPECT_EQ(load_by_ranks(run.files, 3), all_done(3));
}

TEST(LoadSharded, ThrowsAnyIoErrorOfOneRankOnAll) {
  SavedByFour run;
  for (int victim = 0; victim < 3; ++victim)
    for (int call = 1;; ++call) {
      bool failed = false;
      const Ends ends = with_ranks(3, [&](Communicator& world) {
        ShardedState state(world.rank(), 3);
        const Checkpoint checkpoint = open_step(run.files, world, "run", 1000);
        if (world.rank() == victim) run.files.fail_at(call, EIO, victim);
        load_sharded(run.files, {world, &world}, checkpoint, state.parts());
      });
      run.files.no_faults();
      failed = ends[0] != "done";
      EXPECT_EQ(ends, Ends(3, ends[0]));
      if (!failed) {
        EXPECT_GT(call, 3);
        break;
      }
      EXPECT_HAS(ends[0], "IoError: rank " + std::to_string(victim) + " of 3: ");
      EXPECT_HAS(ends[0], "Input/output error");
    }
}

TEST(LoadSharded, OfAMissingOrShortFileIsAnErrorOnAll) {
  SavedByFour run;
  const Checkpoint checkpoint = open_step(run.files, "run", 1000);
  const auto load = [&](Communicator& world) {
    ShardedState state(world.rank(), 2);
    load_sharded(run.files, {world, &world}, checkpoint, state.parts());
  };
  run.files.bytes(rank_file(3)).pop_back();
  const Ends cut = with_ranks(2, load);
  EXPECT_EQ(cut, Ends(2, "IoError: rank 1 of 2: read " + rank_file(3) + ": beyond the end"));
  run.files.remove_file(rank_file(3));
  const Ends missing = with_ranks(2, load);
  EXPECT_EQ(missing, Ends(2, missing[0]));
  EXPECT_HAS(missing[0], "IoError: rank 1 of 2: open " + rank_file(3));
}

TEST(OpenStep, IsTheSameOnEveryRankOrTheSameError) {
  SavedByFour run;
  EXPECT_EQ(with_ranks(3, [&](Communicator& world) { open_step(run.files, world, "run", 7); }),
            Ends(3, "UserError: run has no checkpoint of step 7; it has 1000"));
  run.files.bytes(kStep + "/manifest.pb")[40] ^= 1;
  const Ends ends = with_ranks(3, [&](Communicator& world) { open_step(run.files, world, "run", 1000); });
  EXPECT_EQ(ends, Ends(3, ends[0]));
  EXPECT_HAS(ends[0], "IoError: rank 0: " + kStep + "/manifest.pb is no intact manifest");
}

// --- falling back ---

// Three steps of four ranks; loads the newest by three.
struct ThreeSteps {
  FaultyFiles files;
  std::vector<int64_t> admitted;  // as rank 1 saw them
  std::vector<NewestCheckpoint> results = std::vector<NewestCheckpoint>(3);

  ThreeSteps() {
    make_run(files);
    for (int i = 0; i < 3; ++i) save_by_ranks(files, 4, 1000 * (i + 1), i);
  }
  std::string& bytes(int64_t step, int rank) {
    return files.bytes("run/checkpoints/" + step_name(step) + "/rank-0000" + std::to_string(rank) + ".safetensors");
  }
  Ends load(int expected_variant) {
    return with_ranks(3, [&](Communicator& world) {
      const int rank = world.rank();
      ShardedState state(rank, 3);
      results[rank] = load_newest(files, {world, &world}, "run", state.parts(), [&](const Checkpoint& checkpoint) {
        if (rank == 1) admitted.push_back(checkpoint.manifest.run.step);
      });
      EXPECT_TRUE(!results[rank].checkpoint || state == ShardedState(rank, 3, expected_variant));
    });
  }
};

TEST(LoadNewest, TakesTheNewest) {
  ThreeSteps run;
  EXPECT_EQ(run.load(2), all_done(3));
  for (const NewestCheckpoint& result : run.results) {
    EXPECT_EQ(result.checkpoint->manifest.run.step, 3000);
    EXPECT_TRUE(result.problems.empty());
  }
}

TEST(LoadNewest, FallsBackOnAllRanksWhereOneMetDamage) {
  ThreeSteps run;
  run.bytes(3000, 3).back() ^= 1;  // a wrong bit: only the sums of all ranks show it
  run.bytes(2000, 0).pop_back();   // a wrong size: rank 0 sees it from outside
  EXPECT_EQ(run.load(0), all_done(3));
  EXPECT_EQ(run.admitted, (std::vector<int64_t>{3000, 1000}));
  for (const NewestCheckpoint& result : run.results) {
    EXPECT_EQ(result.checkpoint->manifest.run.step, 1000);
    ASSERT_EQ(result.problems.size(), 2u);
    EXPECT_EQ(result.problems, run.results[0].problems);
    EXPECT_HAS(result.problems[0], "is damaged");
    EXPECT_HAS(result.problems[1], "step-00002000/rank-00000.safetensors has");
  }
}

TEST(LoadNewest, FallsBackOnAllRanksWhereOneCannotRead) {
  ThreeSteps run;
  run.files.fail_at(2, EIO, 2);  // rank 2's first read
  EXPECT_EQ(run.load(1), all_done(3));
  for (const NewestCheckpoint& result : run.results) {
    EXPECT_EQ(result.checkpoint->manifest.run.step, 2000);
    EXPECT_HAS(result.problems.at(0), "rank 2 of 3: read run/checkpoints/step-00003000/rank-0000");
  }
}

TEST(LoadNewest, WithoutAnyWholeCheckpointIsEmptyAndSaysWhy) {
  ThreeSteps run;
  for (int64_t step : {1000, 2000, 3000}) run.bytes(step, 1).back() ^= 1;
  EXPECT_EQ(run.load(0), all_done(3));
  for (const NewestCheckpoint& result : run.results) {
    EXPECT_FALSE(result.checkpoint);
    EXPECT_EQ(result.problems.size(), 3u);
  }
}

TEST(LoadNewest, OfAFreshRunIsEmptyWithoutProblems) {
  ThreeSteps run;
  run.files.rename("run/checkpoints", "run/elsewhere");
  EXPECT_EQ(run.load(0), all_done(3));
  for (const NewestCheckpoint& result : run.results) EXPECT_TRUE(!result.checkpoint && result.problems.empty());
}

TEST(LoadNewest, DoesNotPassOverACheckpointThatIsRefused) {
  ThreeSteps run;
  const Ends ends = with_ranks(3, [&](Communicator& world) {
    ShardedState state(world.rank(), 3);
    load_newest(run.files, {world, &world}, "run", state.parts(),
                [](const Checkpoint&) { throw UserError("another config"); });
  });
  EXPECT_EQ(ends, Ends(3, "UserError: another config"));
}

}  // namespace
}  // namespace shardit

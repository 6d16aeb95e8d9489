// Checkpoints of several ranks with every kind of damage: what verify and load say, and whose fault they name.
#include <gtest/gtest.h>

#include "checkpoints/safetensors.h"
#include "tests/checkpoints/sharded_state.h"

namespace shardit {
namespace {

const std::string kStep = "run/checkpoints/step-00001000";

std::string rank_file(int rank) { return kStep + "/rank-0000" + std::to_string(rank) + ".safetensors"; }

struct SavedByFour {
  FaultyFiles files;

  SavedByFour() {
    make_run(files);
    EXPECT_EQ(save_by_ranks(files, 4, 1000, 1), all_done(4));
  }
  Checkpoint checkpoint() { return open_step(files, "run", 1000); }
  std::string verify_error() {
    return error_of<IoError>([&] { verify_checkpoint(files, checkpoint()); });
  }
  std::string load_error() {
    return error_of<IoError>([&] {
      const ShardedState state(0, 1);
      load_checkpoint(files, checkpoint(), state.tensors());
    });
  }
  // All is well again.
  void expect_whole() { verify_checkpoint(files, checkpoint()); }
};

std::string bytes_of_range(const TensorRange& range) {
  return "whose bytes lie from offset " + std::to_string(range.file_offset) + " to " +
         std::to_string(range.file_offset + 4 * range.count);
}

TEST(Damage, InAnyRangeOfAnyKindNamesTensorFileAndOffset) {
  SavedByFour run;
  const Manifest manifest = run.checkpoint().manifest;
  for (const TensorEntry& tensor : manifest.tensors)
    for (const TensorRange& range : tensor.ranges)
      for (int64_t at : {int64_t{0}, 2 * range.count, 4 * range.count - 1}) {
        char& byte = run.files.bytes(rank_file(range.file))[range.file_offset + at];
        byte ^= 0x10;
        const std::string verify = run.verify_error(), load = run.load_error();
        byte ^= 0x10;
        EXPECT_HAS(verify, rank_file(range.file) + " is damaged");
        EXPECT_HAS(verify, "tensor '" + tensor.name + "', " + bytes_of_range(range));
        EXPECT_HAS(load, "tensor '" + tensor.name + "' is damaged");
      }
  run.expect_whole();
}

TEST(Damage, InAnyByteOfAHeaderNamesTheFile) {
  SavedByFour run;
  for (int rank = 0; rank < 4; ++rank) {
    std::string& bytes = run.files.bytes(rank_file(rank));
    const SafetensorsReader reader(run.files, rank_file(rank));
    const int64_t header = reader.tensors().front().offset;
    for (int64_t at = 0; at < header; ++at) {  // length, names, offsets, and the spaces at its end
      bytes[at] ^= 0x10;
      EXPECT_HAS(run.verify_error(), rank_file(rank) + " is damaged: its CRC32C does not match\nin its header");
      bytes[at] ^= 0x10;
    }
  }
  run.expect_whole();
}

TEST(Damage, InAnyByteOfTheManifestNamesIt) {
  SavedByFour run;
  std::string& bytes = run.files.bytes(kStep + "/manifest.pb");
  for (char& byte : bytes) {
    byte ^= 0x10;
    EXPECT_HAS(run.load_error(), kStep + "/manifest.pb is no intact manifest");
    byte ^= 0x10;
  }
  run.expect_whole();
}

TEST(Damage, ByAMissingFileNamesIt) {
  for (int rank = 0; rank < 4; ++rank) {
    SavedByFour run;
    run.files.remove_file(rank_file(rank));
    for (const std::string& error : {run.verify_error(), run.load_error()})
      EXPECT_HAS(error, rank_file(rank) + " is missing, the manifest lists it");
  }
  SavedByFour run;
  run.files.remove_file(kStep + "/manifest.pb");
  EXPECT_HAS(run.load_error(), kStep + " has no manifest.pb");
}

TEST(Damage, ByAFileOfAnotherLengthNamesIt) {
  for (int rank = 0; rank < 4; ++rank)
    for (int change : {-1, 1}) {
      SavedByFour run;
      std::string& bytes = run.files.bytes(rank_file(rank));
      const std::string size = std::to_string(bytes.size());
      bytes.resize(bytes.size() + change);
      for (const std::string& error : {run.verify_error(), run.load_error()}) {
        EXPECT_HAS(error, rank_file(rank) + " has " + std::to_string(bytes.size()));
        EXPECT_HAS(error, "the manifest says " + size);
      }
    }
}

TEST(Damage, ByAFileTooManyNamesIt) {
  SavedByFour run;
  for (const char* extra : {"/rank-00004.safetensors", "/notes.txt"}) {
    run.files.put(kStep + extra, "");
    EXPECT_HAS(run.verify_error(), kStep + extra + " does not belong to the checkpoint");
    run.files.remove_file(kStep + extra);
  }
  run.expect_whole();
}

// Files 1 and 2 of a tensor of four chunks have headers of one length and so one size: only their bytes tell.
TEST(Damage, BySwappedFilesOfOneSizeIsSeenByVerifyAndLoad) {
  FaultyFiles files;
  make_run(files);
  std::vector<float> values(4 * kChunk);
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i);
  Layout layout;
  layout.units = {{"unit"}};
  layout.units[0].add("w", {4 * kChunk}, {});
  const Ends ends = with_ranks(4, [&](Communicator& writers) {
    const int rank = writers.rank();
    save_sharded(files, writers, "run", run_by(4, 1000),
                 shard_parts("params", layout.units[0], rank, 4, values.data() + rank * kChunk));
  });
  EXPECT_EQ(ends, all_done(4));
  std::swap(files.bytes(rank_file(1)), files.bytes(rank_file(2)));
  const Checkpoint checkpoint = open_step(files, "run", 1000);  // the sizes are right
  const std::string verify = error_of<IoError>([&] { verify_checkpoint(files, checkpoint); });
  EXPECT_HAS(verify, rank_file(1) + " is damaged");
  EXPECT_HAS(verify, "tensor 'params/w'");
  const StateTensor w{"params/w", DType::kF32, {4 * kChunk}, values.data()};
  EXPECT_HAS(error_of<IoError>([&] { load_checkpoint(files, checkpoint, {&w, 1}); }), "tensor 'params/w' is damaged");
}

TEST(Damage, BySwappedFilesOfTwoSizesIsSeenBeforeAnythingIsRead) {
  SavedByFour run;
  std::swap(run.files.bytes(rank_file(0)), run.files.bytes(rank_file(1)));
  for (const std::string& error : {run.verify_error(), run.load_error()}) EXPECT_HAS(error, rank_file(0) + " has ");
}

}  // namespace
}  // namespace shardit

#include "checkpoints/load.h"

#include <gtest/gtest.h>

#include "core/layout.h"
#include "tests/checkpoints/temporary_dir.h"
#include "tests/checkpoints/tiny_state.h"

namespace shardit {
namespace {

const std::string kStep = "run/checkpoints/step-00001000";
const std::string kRankFile = kStep + "/rank-00000.safetensors";

// A run with step 1000, in one file.
struct SavedRun {
  FaultyFiles files;
  SaveReport report;

  SavedRun() {
    make_run(files);
    report = save_tiny(files, 1000, 1);
  }
  Checkpoint checkpoint() { return open_step(files, "run", 1000); }
  void verify() { verify_checkpoint(files, checkpoint()); }
  void load() {
    TinyState state;
    load_checkpoint(files, checkpoint(), state.tensors());
  }
};

// The same state as two ranks hold it: "params/long" cut after its first chunk, the rest dealt out.
SaveReport save_by_two(FileSystem& files, TinyState& state, bool second_first = false) {
  std::vector<TensorPart> parts[2];
  for (const TensorPart& part : whole_parts(state.tensors())) {
    if (part.name == "params/long") {
      parts[0].push_back({part.name, part.dtype, part.shape, 0, kChunk, part.data});
      parts[1].push_back(
          {part.name, part.dtype, part.shape, kChunk, part.count - kChunk, state.long_vector.data() + kChunk});
    } else {
      parts[part.name < "params/scalar"].push_back(part);
    }
  }
  PendingSave save(files, "run", 1000, rank_file_bytes(parts[0]) + rank_file_bytes(parts[1]));
  std::vector<WrittenFile> written;
  for (int rank : {0, 1}) written.push_back(write_rank_file(files, save.directory(), rank, parts[rank]));
  if (second_first) std::swap(written[0], written[1]);
  return save.commit(run_at(1000), written);
}

TEST(Load, GivesBackEveryBit) {
  SavedRun run;
  TinyState loaded(2);
  load_checkpoint(run.files, run.checkpoint(), loaded.tensors());
  EXPECT_TRUE(loaded == TinyState(1));
  EXPECT_EQ(run.checkpoint().manifest.root, run.report.root);
  EXPECT_EQ(run.checkpoint().manifest.run.next_sample, 256000u);
}

TEST(Load, WorksOnRealFiles) {
  TemporaryDir dir;
  PosixFiles files;
  TinyState saved(1), loaded;
  const SaveReport report = save_checkpoint(files, dir.path(), run_at(7), saved.tensors());
  EXPECT_EQ(report.path, dir.path() + "/checkpoints/step-00000007");
  const Checkpoint checkpoint = open_checkpoint(files, dir.path());
  load_checkpoint(files, checkpoint, loaded.tensors());
  EXPECT_TRUE(loaded == saved);
  EXPECT_EQ(verify_checkpoint(files, checkpoint), report.bytes);
  EXPECT_EQ(checkpoint.manifest.root, report.root);
}

TEST(Load, ReadsWhatSeveralWritersWrote) {
  for (bool second_first : {false, true}) {
    FaultyFiles files;
    make_run(files);
    TinyState state(1), loaded;
    const SaveReport report = save_by_two(files, state, second_first);
    const Checkpoint checkpoint = open_checkpoint(files, "run");
    load_checkpoint(files, checkpoint, loaded.tensors());
    EXPECT_TRUE(loaded == state);
    EXPECT_EQ(report.root, SavedRun().report.root);  // the digest does not know the sharding
    EXPECT_EQ(verify_checkpoint(files, checkpoint), report.bytes);
  }
}

TEST(Load, ReadsAnyPartCutOnChunks) {
  FaultyFiles files;
  make_run(files);
  TinyState state(1);
  save_by_two(files, state);
  const Checkpoint checkpoint = open_checkpoint(files, "run");
  const TensorEntry& entry = *checkpoint.manifest.find("params/long");
  CheckpointReader reader(files, checkpoint);
  std::vector<float> part(2500);
  ChunkSum sum = reader.read(entry, kChunk, 2500 - kChunk, part.data());
  EXPECT_TRUE(std::equal(state.long_vector.begin() + kChunk, state.long_vector.end(), part.begin()));
  EXPECT_THROW(check_digest(checkpoint, entry, sum), IoError);  // a part is not the whole
  sum += reader.read(entry, 0, kChunk, part.data());
  check_digest(checkpoint, entry, sum);
}

TEST(Load, NamesWhatIsMissingExtraOrDifferent) {
  SavedRun run;
  TinyState state;
  std::vector<StateTensor> tensors = state.tensors();
  const auto message = [&](std::vector<StateTensor> asked) {
    return error_of<UserError>([&] { load_checkpoint(run.files, run.checkpoint(), asked); });
  };
  std::vector<StateTensor> more = tensors, fewer = tensors, other = tensors, retyped = tensors;
  more.push_back({"params/new", DType::kF32, {1}, state.scalar.data()});
  fewer.pop_back();
  other[0].shape = {3, 2};
  retyped[0].dtype = DType::kI32;
  EXPECT_HAS(message(more), "lacks params/new");
  EXPECT_HAS(message(fewer), "also holds ema.slow/half");
  EXPECT_HAS(message(other), "params/matrix (fp32 [2, 3], expected fp32 [3, 2])");
  EXPECT_HAS(message(retyped), "expected int32 [2, 3]");
  load_checkpoint(run.files, run.checkpoint(), fewer, Extra::kIgnore);
}

// --- damage ---

TEST(Verify, NoticesEveryDamagedByteOfARankFile) {
  SavedRun run;
  std::string& bytes = run.files.bytes(kRankFile);
  for (size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] ^= 0x10;
    EXPECT_HAS(error_of<IoError>([&] { run.verify(); }), kRankFile);
    bytes[i] ^= 0x10;
  }
  run.verify();
}

TEST(Verify, NamesTensorFileAndOffset) {
  SavedRun run;
  const TensorRange range = run.checkpoint().manifest.find("adam.m/matrix")->ranges[0];
  run.files.bytes(kRankFile)[range.file_offset + 3] ^= 1;
  const std::string message = error_of<IoError>([&] { run.verify(); });
  EXPECT_HAS(message, kRankFile + " is damaged");
  EXPECT_HAS(message, "'adam.m/matrix', whose bytes lie from offset " + std::to_string(range.file_offset) + " to " +
                          std::to_string(range.file_offset + 24));
}

TEST(Verify, CallsAChangedHeaderByItsName) {
  SavedRun run;
  std::string& bytes = run.files.bytes(kRankFile);
  bytes[bytes.find("params/matrix")] = 'P';
  EXPECT_HAS(error_of<IoError>([&] { run.verify(); }), "in its header");
  bytes[bytes.find("Params/matrix")] = 'p';
  const size_t padding = bytes.find("}}") + 2;
  ASSERT_EQ(bytes[padding], ' ');
  bytes[padding] = '\n';  // still a legal header
  EXPECT_HAS(error_of<IoError>([&] { run.verify(); }), "in its header");
}

TEST(Load, RefusesEveryDamagedByteOfATensor) {
  SavedRun run;
  const Manifest manifest = run.checkpoint().manifest;
  std::string& bytes = run.files.bytes(kRankFile);
  for (const TensorEntry& tensor : manifest.tensors)
    for (const TensorRange& range : tensor.ranges)
      for (int64_t i = 0; i < range.count * static_cast<int64_t>(size_of(tensor.dtype)); ++i) {
        bytes[range.file_offset + i] ^= 1;
        EXPECT_HAS(error_of<IoError>([&] { run.load(); }), "'" + tensor.name + "' is damaged");
        bytes[range.file_offset + i] ^= 1;
      }
  run.load();
}

TEST(Verify, RefusesAManifestWithAnyDamagedByte) {
  SavedRun run;
  std::string& bytes = run.files.bytes(kStep + "/manifest.pb");
  for (size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] ^= 0x10;
    EXPECT_HAS(error_of<IoError>([&] { run.verify(); }), "manifest.pb is no intact manifest");
    bytes[i] ^= 0x10;
  }
}

TEST(Verify, RefusesAFileOfAnotherLength) {
  SavedRun run;
  const std::string whole = run.files.bytes(kRankFile);
  for (size_t bytes = 0; bytes < whole.size(); bytes += 97) {
    run.files.bytes(kRankFile) = whole.substr(0, bytes);
    EXPECT_HAS(error_of<IoError>([&] { run.verify(); }), "has " + std::to_string(bytes) + " bytes, the manifest says");
  }
  run.files.bytes(kRankFile) = whole + " ";
  EXPECT_HAS(error_of<IoError>([&] { run.verify(); }), "the manifest says " + std::to_string(whole.size()));
}

TEST(Verify, RefusesAMissingAndAnExtraFile) {
  SavedRun run;
  run.files.put(kStep + "/rank-00001.safetensors", "");
  EXPECT_HAS(error_of<IoError>([&] { run.verify(); }), "rank-00001.safetensors does not belong");
  run.files.remove_file(kStep + "/rank-00001.safetensors");
  run.files.remove_file(kRankFile);
  EXPECT_HAS(error_of<IoError>([&] { run.verify(); }), kRankFile + " is missing");
}

TEST(Verify, RefusesSwappedFiles) {
  FaultyFiles files;
  make_run(files);
  TinyState state(1);
  for (auto* values : {&state.matrix, &state.moment}) values->resize(6);
  std::vector<TensorPart> a = {{"params/aaa", DType::kF32, {6}, 0, 6, state.matrix.data()}},
                          b = {{"params/bbb", DType::kF32, {6}, 0, 6, state.long_vector.data() + 100}};
  PendingSave save(files, "run", 1000, 1000);
  const std::vector<WrittenFile> written = {write_rank_file(files, save.directory(), 0, a),
                                            write_rank_file(files, save.directory(), 1, b)};
  save.commit(run_at(1000), written);
  std::swap(files.bytes(kRankFile), files.bytes(kStep + "/rank-00001.safetensors"));
  const Checkpoint checkpoint = open_step(files, "run", 1000);  // the sizes are still right
  EXPECT_HAS(error_of<IoError>([&] { verify_checkpoint(files, checkpoint); }), "tensor 'params/aaa'");
}

TEST(Verify, RefusesACheckpointCopiedOverAnother) {
  SavedRun run;
  run.files.rename(kStep, "run/checkpoints/step-00002000");
  EXPECT_HAS(error_of<IoError>([&] { open_step(run.files, "run", 2000); }), "holds step 1000");
}

}  // namespace
}  // namespace shardit

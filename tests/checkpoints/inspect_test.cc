#include "checkpoints/inspect.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "tests/checkpoints/sharded_state.h"
#include "tests/checkpoints/watched_files.h"

namespace shardit {
namespace {

// Two checkpoints, of `a` and of `b`.
struct Pair {
  FaultyFiles files;
  Checkpoint a, b;

  Pair(std::vector<StateTensor> in_a, std::vector<StateTensor> in_b) {
    make_run(files);
    save_checkpoint(files, "run", run_at(1), in_a);
    save_checkpoint(files, "run", run_at(2), in_b);
    a = open_step(files, "run", 1);
    b = open_step(files, "run", 2);
  }
  Difference diff(double tolerance = 0) { return diff_checkpoints(files, a, b, tolerance); }
};

StateTensor floats(const std::string& name, std::vector<float>& values) {
  return {name, DType::kF32, {static_cast<int64_t>(values.size())}, values.data()};
}

TEST(Inspect, TheDigestIsOneLine) {
  FaultyFiles files;
  make_run(files);
  const SaveReport report = save_tiny(files, 1000, 1);
  EXPECT_EQ(digest_line(open_checkpoint(files, "run")), "digest " + report.root.hex() + "\n");
}

TEST(Inspect, TheTextSaysWhatIsInIt) {
  FaultyFiles files;
  make_run(files);
  save_tiny(files, 1000, 1);
  const Checkpoint checkpoint = open_checkpoint(files, "run");
  const std::string text = describe_text(checkpoint, false), full = describe_text(checkpoint, true);
  for (const char* part : {"step          1000, 256000 images", "1 rank at zero_stage 0 on cpu avx512", "onednn 2.6.3",
                           "params: 4 tensors, 2507 elements, 10028 bytes", "rank-00000.safetensors", "  steps: 9000"})
    EXPECT_HAS(text, part);
  EXPECT_EQ(text.find("params/long"), std::string::npos);
  EXPECT_HAS(full, "params/long  fp32 [50, 50]");
  EXPECT_HAS(full, "[0, 2500)  rank-00000.safetensors at ");
}

TEST(Inspect, TheJsonHasEveryTensorAndItsPlace) {
  FaultyFiles files;
  make_run(files);
  const SaveReport report = save_tiny(files, 1000, 1);
  const auto json = nlohmann::json::parse(describe_json(open_checkpoint(files, "run")));
  EXPECT_EQ(json["step"], 1000);
  EXPECT_EQ(json["parameters"], 2507);
  EXPECT_EQ(json["root_digest"], report.root.hex());
  EXPECT_EQ(json["bytes"], report.bytes);
  EXPECT_EQ(json["config"], "seed: 42\nsteps: 9000\n");
  ASSERT_EQ(json["tensors"].size(), 6u);
  EXPECT_EQ(json["tensors"][0]["name"], "adam.m/matrix");
  EXPECT_EQ(json["tensors"][0]["shape"], (std::vector<int>{2, 3}));
  EXPECT_EQ(json["tensors"][0]["ranges"][0]["file"], "rank-00000.safetensors");
}

TEST(Inspect, OfManyRanksIsShortAndSaysHowTheBytesAreSharedOut) {
  FaultyFiles files;
  make_run(files);
  std::vector<float> values(12 * kChunk);
  Unit unit{"unit"};
  unit.add("w", {12 * kChunk}, {});
  const Ends ends = with_ranks(12, [&](Communicator& writers) {
    const int rank = writers.rank();
    save_sharded(files, writers, "run", run_by(12, 1000),
                 shard_parts("params", unit, rank, 12, values.data() + rank * kChunk));
  });
  EXPECT_EQ(ends, all_done(12));
  const Checkpoint checkpoint = open_checkpoint(files, "run");
  const std::vector<FileEntry>& entries = checkpoint.manifest.files;
  const std::string text = describe_text(checkpoint, false), full = describe_text(checkpoint, true);
  EXPECT_HAS(text, "written by    12 ranks at zero_stage 0");
  EXPECT_HAS(text, "files         12, " + std::to_string(checkpoint.manifest.data_bytes()) + " bytes, " +
                       std::to_string(entries[0].bytes) + " to " + std::to_string(entries[11].bytes) + " each\n");
  EXPECT_HAS(text, "file          rank-00007.safetensors  " + std::to_string(entries[7].bytes) + " bytes");
  EXPECT_HAS(text, "file          4 more, shown by --tensors\n");
  EXPECT_EQ(text.find("rank-00008"), std::string::npos);
  EXPECT_HAS(full, "file          rank-00011.safetensors");
  EXPECT_HAS(full, "    [11264, 12288)  rank-00011.safetensors at ");
  const auto json = nlohmann::json::parse(describe_json(checkpoint));
  EXPECT_EQ(json["ranks"], 12);
  ASSERT_EQ(json["files"].size(), 12u);
  EXPECT_EQ(json["files"][11]["bytes"], entries[11].bytes);
  EXPECT_EQ(json["tensors"][0]["ranges"][11]["file"], "rank-00011.safetensors");
  const auto elsewhere = nlohmann::json::parse(describe_json({"\xff/run", checkpoint.manifest}));
  EXPECT_EQ(elsewhere["path"], "\uFFFD/run") << "a folder whose name is no UTF-8";
}

TEST(Diff, OfTheSameStateIsEqual) {
  TinyState a(1), b(1);
  Pair pair(a.tensors(), b.tensors());
  const Difference difference = pair.diff();
  EXPECT_TRUE(difference.equal);
  EXPECT_HAS(difference.text(), "params/matrix: equal\n");
  EXPECT_HAS(difference.text(), "6 of 6 tensors have the same bits; equal");
}

TEST(Diff, GivesTheLargestAbsoluteAndRelativeDifference) {
  std::vector<float> a = {1, -8, 3}, b = {1.5, -8, 2};
  Pair pair({floats("w", a)}, {floats("w", b)});
  const Difference difference = pair.diff();
  EXPECT_FALSE(difference.equal);
  EXPECT_EQ(difference.tensors[0].max_abs, 1);
  EXPECT_EQ(difference.tensors[0].relative, 0.125);
  EXPECT_TRUE(pair.diff(0.125).equal);
  EXPECT_FALSE(pair.diff(0.124).equal);
}

TEST(Diff, WithoutToleranceMeansTheSameBits) {
  std::vector<float> a = {0.0f}, b = {-0.0f};
  Pair pair({floats("w", a)}, {floats("w", b)});
  EXPECT_FALSE(pair.diff().equal);
  EXPECT_TRUE(pair.diff(1e-9).equal);
}

TEST(Diff, NoToleranceHidesANan) {
  std::vector<float> a = {1, std::nanf("")}, b = {1, 2};
  Pair pair({floats("w", a)}, {floats("w", b)});
  EXPECT_FALSE(pair.diff(1e9).equal);
  EXPECT_EQ(pair.diff().tensors[0].max_abs, std::numeric_limits<double>::infinity());
}

TEST(Diff, ReadsSliceBySliceFromOneFileOfEachSide) {
  std::vector<float> a(2 * kSliceElements + 5), b = a;
  b.back() = 1;
  Pair pair({floats("w", a)}, {floats("w", b)});
  WatchedFiles watched(pair.files);
  EXPECT_EQ(diff_checkpoints(watched, pair.a, pair.b).tensors[0].max_abs, 1);
  EXPECT_EQ(watched.largest_read, 4 * kSliceElements);
  EXPECT_EQ(watched.most_open, 2);
}

TEST(Diff, NamesTensorsThatOnlyOneSideHas) {
  std::vector<float> v = {1, 2}, w = {1};
  Pair pair({floats("a", v), floats("c", v)}, {floats("b", v), floats("c", w)});
  const std::string text = pair.diff(1e9).text();
  EXPECT_FALSE(pair.diff(1e9).equal);
  for (const char* line : {"a: only in the first\n", "b: only in the second\n", "c: another shape or dtype\n"})
    EXPECT_HAS(text, line);
}

TEST(Diff, ReportsDamageInsteadOfADifference) {
  TinyState a(1), b(1);
  Pair pair(a.tensors(), b.tensors());
  pair.files.bytes(pair.b.path + "/rank-00000.safetensors").back() ^= 1;
  EXPECT_HAS(error_of<IoError>([&] { pair.diff(1e9); }), "is damaged");
}

}  // namespace
}  // namespace shardit

// `shardit checkpoint reshard`: the same state for another number of ranks, within a memory budget.
#include <chrono>
#include <nlohmann/json.hpp>
#include <thread>

#include "tests/cli/program.h"

namespace shardit {
namespace {

Ran checkpoint(Words words) {
  words.insert(words.begin(), "checkpoint");
  return run(words);
}

Ran reshard(const std::string& from, const std::string& to, const Words& more) {
  Words words = {"reshard", from, to};
  words.insert(words.end(), more.begin(), more.end());
  return checkpoint(words);
}

struct Saved : TestFolder {
  std::string run_dir = *this / "run";
  Saved() { EXPECT_TRUE(succeeds(train(run_dir, {"--steps", "4"}))); }
};

TEST(Reshard, KeepsEveryBitAndNamesItsRanks) {
  const Saved saved;
  const std::string four = saved / "new/four", one = saved / "one";
  const Ran ran = reshard(saved.run_dir, four, {"--ranks", "4"});
  ASSERT_TRUE(succeeds(ran));
  EXPECT_TRUE(contains(ran.out, "wrote " + checkpoint_path(four, 4) + " for 4 ranks ("));
  EXPECT_TRUE(contains(ran.out, digest_of(saved.run_dir)));
  ASSERT_TRUE(succeeds(reshard(four, one, {"--ranks", "1"})));
  for (const std::string& copy : {four, one}) {
    EXPECT_TRUE(succeeds(checkpoint({"verify", copy})));
    EXPECT_TRUE(succeeds(checkpoint({"diff", saved.run_dir, copy})));
    EXPECT_EQ(digest_of(copy), digest_of(saved.run_dir));
  }
  const auto json = nlohmann::json::parse(checkpoint({"inspect", four, "--json"}).out);
  EXPECT_EQ(json.at("ranks"), 4);
  ASSERT_EQ(json.at("files").size(), 4u);
  for (const auto& file : json.at("files")) EXPECT_GT(file.at("bytes"), 0);
  const std::string file = "/rank-00000.safetensors";
  EXPECT_EQ(bytes_of_file(checkpoint_path(one, 4) + file), bytes_of_file(checkpoint_path(saved.run_dir, 4) + file));
}

TEST(Reshard, WritesTheFilesOfARunOfSoManyProcesses) {
  const Saved saved;
  const std::string job = saved / "job", four = saved / "four", one = saved / "one";
  ASSERT_EQ(train(job, {"--steps", "4", "--set", "parallel.zero_stage=3"}, {.ranks = 4}).code, 0);
  ASSERT_TRUE(succeeds(reshard(saved.run_dir, four, {"--ranks", "4"})));
  ASSERT_TRUE(succeeds(reshard(job, one, {"--ranks", "1"})));
  for (int rank = 0; rank < 4; ++rank) {
    const std::string file = "/rank-0000" + std::to_string(rank) + ".safetensors";
    EXPECT_TRUE(bytes_of_file(checkpoint_path(four, 4) + file) == bytes_of_file(checkpoint_path(job, 4) + file))
        << file;
  }
  const std::string file = "/rank-00000.safetensors";
  EXPECT_TRUE(bytes_of_file(checkpoint_path(one, 4) + file) == bytes_of_file(checkpoint_path(saved.run_dir, 4) + file));
}

TEST(Reshard, OfARunIsARunThatGoesOn) {
  const Saved saved;
  const std::string copy = saved / "copy";
  ASSERT_TRUE(succeeds(reshard(saved.run_dir, copy, {"--ranks", "3"})));
  for (const std::string& run_dir : {saved.run_dir, copy}) EXPECT_TRUE(succeeds(train(run_dir, {"--steps", "7"})));
  EXPECT_EQ(digest_of(copy), digest_of(saved.run_dir));
}

TEST(Reshard, RefusesWhatItCannotDo) {
  const Saved saved;
  const std::string copy = saved / "copy";
  EXPECT_TRUE(fails(reshard(saved.run_dir, copy, {}), 2, {"--ranks"}));
  EXPECT_TRUE(fails(reshard(saved.run_dir, copy, {"--ranks", "0"}), 2, {"--ranks"}));
  EXPECT_TRUE(fails(reshard(saved / "absent", copy, {"--ranks", "2"}), 2, {"absent"}));
  EXPECT_TRUE(
      fails(reshard(saved.run_dir, copy, {"--ranks", "2", "--memory-budget", "2 cups"}), 2, {"--memory-budget"}));
  EXPECT_TRUE(fails(reshard(saved.run_dir, copy, {"--ranks", "2", "--memory-budget", "4KiB"}), 2,
                    {"--memory-budget is 4096 bytes, this reshard needs "}));
  EXPECT_FALSE(exists(copy)) << "nothing is begun";
  ASSERT_TRUE(succeeds(reshard(saved.run_dir, copy, {"--ranks", "2"})));
  EXPECT_TRUE(fails(reshard(saved.run_dir, copy, {"--ranks", "2"}), 2, {"step-00000004 is there already"}));
}

TEST(Reshard, OfDamagedDataIsAnErrorAndLeavesNoCheckpoint) {
  const Saved saved;
  flip_byte(checkpoint_path(saved.run_dir, 4) + "/rank-00000.safetensors", 30'000);
  EXPECT_TRUE(fails(reshard(saved.run_dir, saved / "copy", {"--ranks", "2"}), 4, {"is damaged", "rank-00000"}));
  EXPECT_FALSE(exists(checkpoint_path(saved / "copy", 4)));
}

TEST(Verify, NamesTheDamagedFileOfOneOfSeveralRanks) {
  const Saved saved;
  const std::string copy = saved / "copy";
  ASSERT_TRUE(succeeds(reshard(saved.run_dir, copy, {"--ranks", "4"})));
  const std::string second = checkpoint_path(copy, 4) + "/rank-00002.safetensors";
  const std::string bytes = bytes_of_file(second);
  flip_byte(second, bytes.size() - 1);
  EXPECT_TRUE(fails(checkpoint({"verify", copy}), 4, {"rank-00002.safetensors is damaged", "tensor '"}));
  write_bytes(second, bytes.substr(0, bytes.size() - 1));
  EXPECT_TRUE(fails(checkpoint({"verify", checkpoint_path(copy, 4)}), 4, {"rank-00002.safetensors has "}));
  std::filesystem::remove(second);
  EXPECT_TRUE(fails(checkpoint({"verify", checkpoint_path(copy, 4)}), 4, {"rank-00002.safetensors is missing"}));
}

// --- memory ---

// A state of 115 MiB in one file.
struct SavedLarge : TestFolder {
  std::string run_dir = *this / "run";
  SavedLarge() {
    std::string text = bytes_of_file(tiny_config());
    text.replace(text.find("hidden_size: 20"), 15, "hidden_size: 320");
    text.replace(text.find("depth: 2"), 8, "depth: 4");
    write_bytes(*this / "large.textproto", text);
    EXPECT_TRUE(succeeds(run({"train", *this / "large.textproto", "--run-dir", run_dir, "--steps", "1"})));
  }
};

// The most memory that the program held, as the kernel counts it, looked at until it ended.
int64_t peak_of(Words words) {
  words.insert(words.begin(), "checkpoint");
  Started program(words);
  int64_t peak = 0;
  while (program.running()) {
    if (const int64_t now = program.peak_memory_bytes()) peak = now;
    std::this_thread::sleep_for(std::chrono::microseconds(100));
  }
  EXPECT_TRUE(succeeds(program.wait()));
  return peak;
}

constexpr int64_t kMiB = 1 << 20;

TEST(Memory, OfReshardAndDiffIsBoundedWhateverTheState) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "a sanitizer's own memory is not bounded";
#endif
  const SavedLarge saved;
  const std::string few = saved / "few", many = saved / "many";
  int64_t program = 0;  // what it takes to look at a checkpoint at all
  for (int i = 0; i < 5; ++i) program = std::max(program, peak_of({"inspect", saved.run_dir}));
  ASSERT_GT(program, kMiB);
  const auto growth = [&](const Words& words) { return peak_of(words) - program; };

  EXPECT_LE(growth({"reshard", saved.run_dir, few, "--ranks", "3", "--memory-budget", "16MiB"}), 16 * kMiB);
  const Ran refused = reshard(few, many, {"--ranks", "200", "--memory-budget", "1"});
  const std::string needs = "this reshard needs ";
  ASSERT_TRUE(fails(refused, 2, {needs}));
  const int64_t least = std::stoll(refused.err.substr(refused.err.find(needs) + needs.size()));
  EXPECT_LT(least, 16 * kMiB);
  EXPECT_LE(growth({"reshard", few, many, "--ranks", "200", "--memory-budget", std::to_string(least)}), least);
  EXPECT_LE(growth({"diff", few, many}), 32 * kMiB);  // two sides, a slice of floats and one of doubles each
  EXPECT_EQ(digest_of(many), digest_of(saved.run_dir));
}

}  // namespace
}  // namespace shardit

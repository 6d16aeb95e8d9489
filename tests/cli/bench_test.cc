// `shardit bench`: alone and under mpirun, on sizes of a second.
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "tests/cli/program.h"

namespace shardit {
namespace {

using Json = nlohmann::json;

Words bench(const std::string& what, const Words& more = {}) {
  Words words = {"bench", what};
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

Json json_in(const std::string& path) { return Json::parse(bytes_of_file(path)); }

void expect_comm_report(const Ran& ran, const std::string& json, int ranks) {
  ASSERT_TRUE(succeeds(ran));
  EXPECT_TRUE(contains(ran.out, std::to_string(ranks) + " ranks"));
  EXPECT_TRUE(contains(ran.out, "Look at bus GB/s"));
  const Json report = json_in(json);
  EXPECT_EQ(report.at("ranks"), ranks);
  EXPECT_EQ(report.at("points").size(), 8u) << "four collectives at 1 and 4 KiB";
  for (const Json& point : report.at("points")) {
    EXPECT_GT(point.at("best_us"), 0);
    EXPECT_GT(point.at("library_median_us"), 0);
    const double factor = point.at("op") == "broadcast" ? 1 : (ranks - 1.0) / ranks;
    EXPECT_NEAR(point.at("bus_gb_per_s"), point.at("algorithm_gb_per_s").get<double>() * factor, 1e-9);
  }
  EXPECT_GT(report.at("link").at("gb_per_s"), 0);
}

TEST(BenchComm, AloneStartsMpirun) {
  const TestFolder folder;
  const Ran ran = run(bench("comm", {"--max-bytes", "4KiB", "--json", folder / "comm.json"}));
  expect_comm_report(ran, folder / "comm.json", 2);
}

TEST(BenchComm, UnderMpirunUsesTheJobsRanks) {
  const TestFolder folder;
  const Ran ran = run(bench("comm", {"--max-bytes", "4096", "--json", folder / "comm.json"}), {.ranks = 3});
  expect_comm_report(ran, folder / "comm.json", 3);
}

// As they are gathered: in bf16 they take half of what they take in fp32.
TEST(BenchComm, OfAConfigMeasuresTheSizesOfItsWeights) {
  const TestFolder folder;
  const auto sizes = [&](const std::string& precision) {
    EXPECT_TRUE(succeeds(run(
        bench("comm", {tiny_config(), "--set", "precision.compute=" + precision, "--json", folder / "comm.json"}))));
    const Json report = json_in(folder / "comm.json");
    std::set<int64_t> bytes;
    for (const Json& point : report.at("points")) bytes.insert(point.at("bytes").get<int64_t>());
    return bytes;
  };
  std::set<int64_t> doubled;
  for (int64_t bytes : sizes("bf16")) doubled.insert(2 * bytes);
  EXPECT_GE(doubled.size(), 2u) << "blocks have one size, what stands before and after them others";
  EXPECT_EQ(doubled, sizes("fp32"));
}

TEST(BenchComm, RefusesWhatCannotBeMeasured) {
  EXPECT_TRUE(fails(run(bench("comm", {"/nowhere.textproto"})), 2, {"/nowhere.textproto"}));
  EXPECT_TRUE(
      fails(run(bench("comm", {tiny_config(), "--max-bytes", "4KiB"})), 2, {"--max-bytes", "without a config"}));
  const Ran wrong = run(bench("comm", {tiny_config(), "--set", "model.depth=0"}), {.ranks = 2});
  EXPECT_EQ(wrong.code, 2);
  EXPECT_TRUE(contains(wrong.err, "model.depth=0 must be positive"));
  EXPECT_TRUE(fails(run(bench("comm", {"--ranks", "1"})), 2, {"one rank has nobody to send to", "2 or more"}));
  EXPECT_TRUE(fails(run(bench("comm", {"--max-bytes", "1000"})), 2, {"--max-bytes", "1024"}));
  EXPECT_TRUE(fails(run(bench("comm", {"--json", "/nowhere/comm.json"})), 2, {"/nowhere"}));
  EXPECT_TRUE(fails(run(bench("comm"), {.environment = {{"PATH", "/nowhere"}}}), 2, {"mpirun", "PATH"}));
  const Ran job = run(bench("comm", {"--ranks", "2"}), {.ranks = 2});
  EXPECT_EQ(job.code, 2);
  EXPECT_TRUE(contains(job.err, "the job's ranks are used"));
}

TEST(BenchCheckpoint, SavesTheStateOfTheConfigAndLeavesNothing) {
  const int64_t parameters = Json::parse(run({"plan", tiny_config(), "--json"}).out).at("parameters");
  for (int ranks : {0, 2, 3}) {
    const TestFolder folder, disk;
    const Ran ran = run(bench("checkpoint", {tiny_config(), "--dir", disk.path.string(), "--json", folder / "c.json",
                                             "--set", "parallel.zero_stage=2"}),
                        {.ranks = ranks});
    ASSERT_TRUE(succeeds(ran));
    const Json report = json_in(folder / "c.json");
    EXPECT_EQ(report.at("ranks"), std::max(ranks, 1));
    EXPECT_EQ(report.at("bytes"), 4 * 5 * parameters) << "masters, moments, two EMAs";
    for (const char* key : {"write_gb_per_s", "plain_write_gb_per_s", "write_fraction", "stall_ms", "copy_ms",
                            "stall_fraction", "load_gb_per_s", "verify_gb_per_s"})
      EXPECT_GT(report.at(key), 0) << key;
    EXPECT_TRUE(std::filesystem::is_empty(disk.path));
  }
}

TEST(BenchCheckpoint, ASignalEndsItAndLeavesNothing) {
  const TestFolder disk;
  Started job(bench("checkpoint", {tiny_config(), "--dir", disk.path.string(), "--set", "model.hidden_size=200",
                                   "--set", "model.depth=8"}));
  while (std::filesystem::is_empty(disk.path) && job.running()) usleep(1000);
  job.send(SIGTERM);
  const Ran ran = job.wait();
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_TRUE(contains(ran.out, "stopped by a signal"));
  EXPECT_TRUE(std::filesystem::is_empty(disk.path));
}

TEST(BenchCheckpoint, AFullDiskIsTold) {
  const TestFolder disk;
  const Ran ran =
      run(bench("checkpoint", {tiny_config(), "--dir", disk.path.string()}), {.largest_file_bytes = 100000});
  EXPECT_TRUE(fails(ran, 4, {"rank-00000.safetensors", "ulimit -f"}));
  EXPECT_TRUE(std::filesystem::is_empty(disk.path));
}

TEST(BenchCheckpoint, RefusesWhatCannotBeMeasured) {
  EXPECT_TRUE(fails(run(bench("checkpoint", {tiny_config(), "--dir", "/nowhere"})), 2, {"/nowhere"}));
  EXPECT_TRUE(fails(run(bench("checkpoint", {"nothing.textproto"})), 2, {"nothing.textproto"}));
}

void expect_points(const Json& points, const std::vector<int>& ranks, const std::vector<int>& images) {
  ASSERT_EQ(points.size(), ranks.size());
  for (size_t i = 0; i < ranks.size(); ++i) {
    const Json& p = points[i];
    EXPECT_EQ(p.at("ranks"), ranks[i]);
    EXPECT_NEAR(p.at("images_per_s").get<double>() * p.at("step_ms").get<double>() / 1e3, images[i], 1e-6);
    EXPECT_GE(p.at("exposed_ms"), 0);
    EXPECT_GT(p.at("efficiency"), 0);
    EXPECT_GT(p.at("predicted_efficiency"), 0);
  }
  EXPECT_EQ(points[0].at("efficiency"), 1);
}

TEST(BenchData, NeedsNoConfig) {
  const TestFolder folder;
  EXPECT_TRUE(succeeds(run(bench("data", {"--threads", "1", "--seconds", "0.01", "--json", folder / "d.json"}))));
  EXPECT_EQ(json_in(folder / "d.json").at("side_pixels"), 16) << "the small latent DiffiT";
}

TEST(BenchScaling, AloneStartsAJobForEveryTurn) {
  const TestFolder folder;
  const Ran ran =
      run(bench("scaling", {tiny_config(), "--ranks", "1,2", "--steps", "3", "--turns", "1", "--set",
                            "parallel.zero_stage=2", "--json", folder / "s.json", "--svg", folder / "s.svg"}));
  ASSERT_TRUE(succeeds(ran));
  EXPECT_TRUE(contains(ran.out, "strong scaling of"));
  expect_points(json_in(folder / "s.json"), {1, 2}, {36, 36});
  EXPECT_TRUE(contains(bytes_of_file(folder / "s.svg"), ">measured<"));
}

TEST(BenchScaling, InAJobUsesGroupsOfItsRanks) {
  const TestFolder folder;
  const Ran ran = run(bench("scaling", {tiny_config(), "--weak", "--steps", "3", "--turns", "2", "--set",
                                        "parallel.zero_stage=3", "--json", folder / "s.json"}),
                      {.ranks = 3});
  ASSERT_TRUE(succeeds(ran));
  expect_points(json_in(folder / "s.json"), {1, 2, 3}, {36, 72, 108});
  EXPECT_TRUE(contains(bytes_of_file(folder / "s.svg"), ">measured<")) << "the plot lies beside the numbers";
}

// Seconds of processor time of a process so far.
double cpu_seconds(int pid) {
  const std::string stat = bytes_of_file("/proc/" + std::to_string(pid) + "/stat");
  std::istringstream fields(stat.substr(stat.rfind(')') + 2));
  std::string skipped;
  for (int i = 0; i < 11; ++i) fields >> skipped;
  double user = 0, system = 0;
  fields >> user >> system;
  return (user + system) / static_cast<double>(sysconf(_SC_CLK_TCK));
}

TEST(BenchScaling, ARankThatHangsIsNamed) {
  Started job(bench("scaling", {tiny_config(), "--ranks", "2", "--steps", "1000000", "--turns", "1", "--no-predict",
                                "--set", "parallel.zero_stage=2", "--set", "parallel.watchdog_s=2"}),
              {.ranks = 2});
  const auto both_train = [&] {  // starting takes less than a second of it
    const std::vector<int> ranks = job.ranks();
    return ranks.size() == 2 && std::all_of(ranks.begin(), ranks.end(), [](int pid) { return cpu_seconds(pid) > 2; });
  };
  while (job.running() && !both_train()) usleep(50'000);
  ASSERT_TRUE(job.running()) << job.wait().err;
  kill(job.ranks()[1], SIGSTOP);
  const Ran ran = job.wait();
  EXPECT_EQ(ran.code, 6) << ran.err;
  EXPECT_TRUE(contains(ran.err, "rank 1 does not answer"));
}

TEST(BenchScaling, RefusesWhatCannotBeMeasured) {
  EXPECT_TRUE(fails(run(bench("scaling", {tiny_config(), "--ranks", "1,5"})), 2,
                    {"5 ranks do not divide the step's 12 micro-batches", "start 1, 2, 3, 4, 6, 12 ranks"}));
  EXPECT_TRUE(fails(run(bench("scaling", {tiny_config(), "--set", "data.images=", "--set", "data.kind=idx", "--set",
                                          "data.path=/nowhere"})),
                    2, {"/nowhere"}));
  EXPECT_TRUE(fails(run(bench("scaling", {tiny_config(), "--weak", "--strong"})), 2, {"--strong"}));
  EXPECT_TRUE(fails(run(bench("scaling", {tiny_config(), "--svg", "/nowhere/s.svg"})), 2, {"/nowhere"}));
  EXPECT_TRUE(fails(run(bench("scaling", {tiny_config(), "--json", "s.svg"})), 2, {"would both be s.svg"}));
  const Ran job = run(bench("scaling", {tiny_config(), "--ranks", "4"}), {.ranks = 2});
  EXPECT_EQ(job.code, 2);
  EXPECT_TRUE(contains(job.err, "--ranks 4: the job has 2 ranks"));
}

void expect_step_report(const Ran& ran, const std::string& path, int images) {
  ASSERT_TRUE(succeeds(ran));
  EXPECT_TRUE(contains(ran.out, "linear_wgrad"));
  const Json report = json_in(path);
  EXPECT_NEAR(report.at("images_per_s").get<double>() * report.at("step_ms").get<double>() / 1e3, images, 1e-6);
  for (const char* key : {"mfu", "fraction_of_ceiling"}) {
    EXPECT_GT(report.at(key), 0) << key;
    EXPECT_LT(report.at(key), 1.5) << key;
  }
  EXPECT_EQ(report.size(), 6u);
}

TEST(BenchStep, IsAStepOfTheRunThatThePlanDescribes) {
  const TestFolder folder;
  const Words step = {tiny_config(), "--steps", "3", "--json", folder / "step.json"};
  expect_step_report(run(bench("step", step)), folder / "step.json", 36);
  const Json plan = Json::parse(run({"plan", tiny_config(), "--json"}).out), report = json_in(folder / "step.json");
  EXPECT_EQ(report.at("parameters"), plan.at("parameters"));
  EXPECT_EQ(report.at("plan_bytes"), plan.at("plans").at(0).at("peak_bytes"));
}

TEST(BenchStep, UnderMpirunCountsTheImagesOfAllRanks) {
  const TestFolder folder;
  const Ran ran = run(
      bench("step", {tiny_config(), "--steps", "3", "--set", "parallel.zero_stage=2", "--json", folder / "step.json"}),
      {.ranks = 2});
  expect_step_report(ran, folder / "step.json", 36);
  EXPECT_TRUE(contains(ran.out, "2 ranks of 1 thread"));
}

TEST(BenchStep, RefusesWhatCannotBeMeasured) {
  EXPECT_TRUE(fails(run(bench("step", {tiny_config(), "--json", "/nowhere/step.json"})), 2, {"/nowhere"}));
  const Ran job = run(bench("step", {tiny_config()}), {.ranks = 5});
  EXPECT_EQ(job.code, 2);
  EXPECT_TRUE(contains(job.err, "5 ranks do not divide"));
}

TEST(BenchOps, HoldsEveryKernelAgainstItsCost) {
  const TestFolder folder;
  ASSERT_TRUE(succeeds(run(bench("ops", {tiny_config(), "--times", "2", "--json", folder / "ops.json"}))));
  const Json report = json_in(folder / "ops.json");
  EXPECT_GT(report.at("ceilings").at("fp32_gflop_per_s"), 0);
  EXPECT_GT(report.at("ops").size(), 50u);
  for (const Json& op : report.at("ops")) {
    EXPECT_NEAR(op.at("gb_per_s").get<double>() * op.at("ms").get<double>() * 1e6, op.at("bytes").get<double>(), 1);
    EXPECT_TRUE(op.at("limit") == "flops" || op.at("limit") == "bytes");
    EXPECT_GT(op.at("fraction_of_ceiling"), 0);
  }
}

TEST(BenchOps, IsOfOneRankOfAJob) {
  const Ran job = run(bench("ops", {tiny_config(), "--times", "1"}), {.ranks = 2});
  EXPECT_TRUE(succeeds(job));
  EXPECT_EQ(job.out.find("ceilings:"), job.out.rfind("ceilings:")) << job.out;
  EXPECT_TRUE(contains(job.out, "ceilings:"));
}

TEST(Bench, UnknownBenchmarksNameTheReal) {
  EXPECT_TRUE(fails(run(bench("everything")), 2, {"unknown command", "ops", "step", "comm", "checkpoint", "scaling"}));
  EXPECT_TRUE(fails(run({"bench"}), 2, {"needs a command", "comm"}));
}

}  // namespace
}  // namespace shardit

// What is said before a run is what the run does: memory, refusals, graphs.
#include <nlohmann/json.hpp>
#include <sstream>

#include "tests/cli/program.h"

namespace shardit {
namespace {

using Json = nlohmann::json;

Json plan_json(const Words& more = {}, int ranks = 1) {
  Words words = {"plan", tiny_config(), "--ranks", std::to_string(ranks), "--json"};
  words.insert(words.end(), more.begin(), more.end());
  const Ran ran = run(words);
  EXPECT_TRUE(succeeds(ran));
  return Json::parse(ran.out);
}

Json start_event(const std::string& run_dir) {
  std::istringstream lines(bytes_of_file(run_dir + "/metrics.jsonl"));
  std::string line;
  std::getline(lines, line);
  return Json::parse(line);
}

TEST(Plan, JsonHasTheKeysOfTheContract) {
  const Json plan = plan_json();
  EXPECT_EQ(plan.at("micro_batches"), 12);
  const Json& one = plan.at("plans").at(0);
  EXPECT_EQ(one.at("ranks"), 1);
  int64_t sum = 0;
  for (const Json& row : one.at("per_rank")) {
    EXPECT_TRUE(row.at("class").is_string());
    sum += row.at("bytes").get<int64_t>();
  }
  EXPECT_EQ(sum, one.at("peak_bytes").get<int64_t>()) << "the classes are the whole";
  EXPECT_EQ(one.at("checkpoint_bytes"), 4 * 5 * plan.at("parameters").get<int64_t>());
  for (const char* key : {"step_ms", "mfu", "images_per_s", "finish_h", "device_h"}) EXPECT_GT(one.at(key), 0) << key;
  EXPECT_EQ(one.at("exposed_ms"), 0) << "there is nobody to wait for";
}

TEST(Plan, AWeakScalingIsLabelledAndHasThatManyImagesForEachRank) {
  const Json strong = plan_json({}, 2), weak = plan_json({"--weak"}, 2);
  EXPECT_EQ(strong.at("scaling"), "strong");
  EXPECT_EQ(weak.at("scaling"), "weak");
  EXPECT_EQ(weak.at("plans").at(0).at("global_batch_images"),
            2 * strong.at("plans").at(0).at("global_batch_images").get<int>());
  const Ran ran = run({"plan", tiny_config(), "--ranks", "1,2", "--weak"});
  EXPECT_TRUE(contains(ran.out, "weak scaling: each rank has the config's global_batch_size images"));
}

TEST(Plan, ASweepNamesTheBestAndSaysWhy) {
  const Words words = {"plan", tiny_config(), "--ranks", "2", "--sweep"};
  const Ran ran = run(words);
  ASSERT_TRUE(succeeds(ran));
  EXPECT_TRUE(contains(ran.out, "best: zero_stage="));
  Words json = words;
  json.push_back("--json");
  const Json sweep = Json::parse(run(json).out).at("sweeps").at(0);
  int best = 0, stages = 0;
  for (const Json& row : sweep.at("rows")) {
    best += row.at("best").get<bool>() ? 1 : 0;
    stages |= 1 << row.at("zero_stage").get<int>();
  }
  EXPECT_EQ(best, 1);
  EXPECT_EQ(stages, 15) << "all four";
  EXPECT_GE(sweep.at("why").size(), 3u);
}

TEST(Plan, ForMachinesThatItDoesNotKnowTakesAFile) {
  const TestFolder folder;
  const std::string file = folder / "machines.textproto";
  write_bytes(file,
              "fp32_tflops: 0.1 bf16_tflops: 0.1 copies_gb_per_s: 10 of_limit: 0.5 "
              "inside { gb_per_s: 10 step_us: 1 } across { gb_per_s: 1 step_us: 10 }");
  const auto exposed_ms = [&](const Words& more) {
    Words words = {"--cluster", file};
    words.insert(words.end(), more.begin(), more.end());
    return plan_json(words, 2).at("plans").at(0).at("exposed_ms").get<double>();
  };
  EXPECT_LT(exposed_ms({"--gpus-per-node", "2"}), exposed_ms({"--gpus-per-node", "1"}));
  EXPECT_TRUE(fails(run({"plan", tiny_config(), "--cluster", folder / "none"}), 2, {"--cluster", "h200-ib400", "cpu"}));
  write_bytes(file, "fp32_tflop: 1");
  EXPECT_TRUE(fails(run({"plan", tiny_config(), "--cluster", file}), 2, {file + ":1: ", "fp32_tflop"}));
}

TEST(Plan, IsWhatTheRunAllocates) {
  for (const Words& sets : std::vector<Words>{{},
                                              {"--set", "precision.compute=bf16"},
                                              {"--set", "parallel.recompute=block"},
                                              {"--set", "checkpoint.async=false"},
                                              {"--set", "sample.every_steps=1", "--set", "parallel.fold_group=1"}}) {
    const TestFolder folder;
    Words flags = {"--steps", "1"};
    flags.insert(flags.end(), sets.begin(), sets.end());
    const Ran ran = train(folder / "run", flags);
    ASSERT_TRUE(succeeds(ran));
    const int64_t peak = plan_json(sets).at("plans").at(0).at("peak_bytes").get<int64_t>();
    const std::string bytes = std::to_string(peak) + " bytes";
    EXPECT_TRUE(contains(ran.out, "memory: planned " + bytes + ", allocated " + bytes));
    const Json start = start_event(folder / "run");
    EXPECT_EQ(start.at("planned_bytes"), peak);
    EXPECT_EQ(start.at("allocated_bytes"), peak);
  }
}

TEST(Plan, IsWhatEveryRankAllocatesAtEveryStage) {
  for (int ranks : {2, 4})
    for (const char* stage : {"0", "1", "2", "3"}) {
      const TestFolder folder;
      const Words set = {"--set", std::string("parallel.zero_stage=") + stage};
      const Ran ran = train(folder / "run", {"--steps", "1", set[0], set[1]}, {.ranks = ranks});
      ASSERT_TRUE(succeeds(ran));
      const Json start = start_event(folder / "run");
      const Json plan = plan_json(set, ranks).at("plans").at(0);
      EXPECT_EQ(start.at("plan"), plan.at("per_rank")) << ranks << " ranks, stage " << stage;
      EXPECT_EQ(start.at("allocated_bytes"), plan.at("peak_bytes")) << ranks << " ranks, stage " << stage;
    }
}

// Four ranks, three rounds: each sends three quarters of its gradients in every round, or of their sum once.
TEST(Plan, SaysWhatTravelsBesideTheFastest) {
  const Json plan = plan_json({"--set", "parallel.zero_stage=1"}, 4).at("plans").at(0);
  int64_t ema_bytes = 0;  // two profiles in fp32, a quarter of each
  for (const Json& row : plan.at("per_rank"))
    if (row.at("class") == "ema") ema_bytes = row.at("bytes");
  const double gradients = static_cast<double>(ema_bytes) / 2 * 3;
  EXPECT_EQ(plan.at("wire_bytes_per_step").get<double>() - plan.at("wire_bytes_per_step_fastest").get<double>(),
            2 * gradients);
  EXPECT_EQ(plan_json().at("plans").at(0).at("wire_bytes_per_step"), 0) << "one rank sends nothing";
}

// The same budget on four ranks: too little for a whole state each, enough for a quarter.
TEST(Plan, AModelTooLargeForOneRankTrainsSharded) {
  const TestFolder folder;
  const auto peak = [](const char* stage) {
    return plan_json({"--set", std::string("parallel.zero_stage=") + stage}, 4)
        .at("plans")
        .at(0)
        .at("peak_bytes")
        .get<int64_t>();
  };
  const std::string limit = "parallel.memory_budget_bytes=" + std::to_string(peak("3"));
  ASSERT_LT(peak("3"), peak("0"));
  const Ran refused =
      train(folder / "run", {"--steps", "2", "--set", limit, "--set", "parallel.zero_stage=0"}, {.ranks = 4});
  EXPECT_EQ(refused.code, 2);
  EXPECT_TRUE(contains(refused.err, std::to_string(peak("0")) + " bytes"));
  EXPECT_TRUE(contains(refused.err, "parallel.zero_stage="));
  EXPECT_TRUE(succeeds(
      train(folder / "run", {"--steps", "2", "--set", limit, "--set", "parallel.zero_stage=3"}, {.ranks = 4})));
}

// "nearest: checkpoint.async=false micro_batch_size=1 fits, 2.1 MiB (…)": the settings in it.
Words suggested(const std::string& message) {
  const size_t at = message.find("nearest: ");
  std::istringstream words(message.substr(at + 9, message.find(" fits", at) - at - 9));
  Words flags;
  for (std::string word; words >> word;) flags.insert(flags.end(), {"--set", word});
  return flags;
}

TEST(Plan, ARunThatCannotFitIsRefusedWithASettingThatDoes) {
  const int64_t peak = plan_json().at("plans").at(0).at("peak_bytes").get<int64_t>();
  for (int64_t budget : {peak - 1, peak * 97 / 100, peak * 2 / 3}) {
    const TestFolder folder;
    const std::string limit = "parallel.memory_budget_bytes=" + std::to_string(budget);
    const Ran refused = train(folder / "run", {"--steps", "1", "--set", limit});
    ASSERT_TRUE(fails(refused, 2,
                      {std::to_string(peak) + " bytes", std::to_string(budget) + " bytes",
                       "parallel.memory_budget_bytes", "needed: parameters", "nearest: "}));
    EXPECT_FALSE(exists(folder / "run/checkpoints"));
    Words flags = suggested(refused.err);
    flags.insert(flags.end(), {"--steps", "1", "--set", limit});
    EXPECT_TRUE(succeeds(train(folder / "run", flags))) << refused.err;
  }
}

TEST(Plan, AModelThatNeverFitsIsToldSo) {
  const TestFolder folder;
  const Ran refused = train(folder / "run", {"--set", "parallel.memory_budget_bytes=1000"});
  EXPECT_TRUE(fails(refused, 2, {"1000 bytes", "the least is", "the model itself is too large"}));
}

TEST(DumpGraph, PrintsEveryStage) {
  for (const char* precision : {"precision.compute=fp32", "precision.compute=bf16"})
    for (const char* stage :
         {"build", "differentiate", "cast", "recompute", "fuse", "hoist", "shard", "plan", "update"}) {
      const Ran ran = run({"train", tiny_config(), "--dump-graph", stage, "--set", precision});
      EXPECT_TRUE(succeeds(ran)) << stage;
      EXPECT_GT(ran.out.size(), 1000u) << stage;
      EXPECT_TRUE(contains(ran.out, stage == std::string("update") ? "adamw" : "blocks.1.attn")) << stage;
    }
}

TEST(DumpGraph, AnUnknownStageNamesTheReal) {
  EXPECT_TRUE(
      fails(run({"train", tiny_config(), "--dump-graph", "scatter"}), 2,
            {"'scatter'", "build", "differentiate", "cast", "recompute", "fuse", "hoist", "shard", "plan", "update"}));
}

}  // namespace
}  // namespace shardit

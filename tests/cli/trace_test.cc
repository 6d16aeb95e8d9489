// `train --trace-steps`: what ran when, on every rank, as Perfetto reads it.
#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "tests/cli/program.h"

namespace shardit {
namespace {

using Json = nlohmann::json;

struct Lane {
  int rank;
  std::string name;
  bool operator<(const Lane& other) const { return std::tie(rank, name) < std::tie(other.rank, other.name); }
};

// The spans of each lane, in the file's order.
std::map<Lane, std::vector<Json>> lanes_of(const std::string& path) {
  const Json events = Json::parse(bytes_of_file(path)).at("traceEvents");
  std::map<std::pair<int, int>, std::string> names;
  for (const Json& e : events)
    if (e.at("name") == "thread_name") names[{e.at("pid"), e.at("tid")}] = e.at("args").at("name");
  std::map<Lane, std::vector<Json>> lanes;
  for (const Json& e : events)
    if (e.at("ph") == "X") lanes[{e.at("pid"), names.at({e.at("pid"), e.at("tid")})}].push_back(e);
  return lanes;
}

int count(const std::vector<Json>& spans, const std::string& key, const std::string& value) {
  int n = 0;
  for (const Json& span : spans) n += span.at(key) == value;
  return n;
}

TEST(Trace, ShowsEveryLaneOfEveryRankForTheStepsAsked) {
  const TestFolder folder;
  const Ran ran =
      train(folder / "run", {"--steps", "6", "--trace-steps", "3:4", "--set", "parallel.zero_stage=2"}, {.ranks = 2});
  ASSERT_TRUE(succeeds(ran));
  const std::string path = folder / "run/traces/steps-3-4.json";
  EXPECT_TRUE(contains(ran.out, "trace: " + path));
  const auto lanes = lanes_of(path);
  for (int rank : {0, 1}) {
    // Two steps of 12 micro-batches on two ranks.
    EXPECT_EQ(count(lanes.at({rank, "graphs"}), "name", "micro_step"), 12);
    EXPECT_EQ(count(lanes.at({rank, "graphs"}), "name", "update"), 2);
    EXPECT_EQ(count(lanes.at({rank, "compute"}), "cat", "adamw"), 2 * 4) << "embedders, two blocks, final layer";
    EXPECT_EQ(count(lanes.at({rank, "wire"}), "cat", "all_to_all"), 12 * 4);
    EXPECT_EQ(count(lanes.at({rank, "wire"}), "cat", "fold"), 12 * 4);
    const auto loads = [&](const auto& lane) {
      return lane.first.rank == rank && lane.first.name.starts_with("loader");
    };
    EXPECT_TRUE(std::any_of(lanes.begin(), lanes.end(), loads)) << "which of its threads loads is left to chance";
  }
}

// What is on one stream runs one after another, and an update comes after the rounds before it.
TEST(Trace, SpansOfALaneDoNotOverlap) {
  const TestFolder folder;
  ASSERT_TRUE(succeeds(train(folder / "run", {"--steps", "3", "--trace-steps", "2"}, {.ranks = 2})));
  for (const auto& [lane, spans] : lanes_of(folder / "run/traces/steps-2-2.json")) {
    double end = -1e9;
    for (const Json& span : spans) {
      EXPECT_GE(span.at("ts").get<double>() + 1e-3, end) << lane.name << " of rank " << lane.rank << ": " << span;
      EXPECT_GE(span.at("dur").get<double>(), 0) << span;
      end = span.at("ts").get<double>() + span.at("dur").get<double>();
    }
  }
}

TEST(Trace, LeavesTheResultAlone) {
  EXPECT_EQ(digest_after({"--steps", "5", "--trace-steps", "2:5"}), digest_after({"--steps", "5"}));
}

TEST(Trace, StepsThatAreNotMadeAreRefused) {
  const TestFolder folder;
  for (const auto& [given, told] :
       std::map<std::string, std::string>{{"5:3", "the earlier step first"},
                                          {"0:3", "counted from 1"},
                                          {"three", "expected two steps of the run like 3:5"},
                                          {"3:", "expected two steps of the run like 3:5"},
                                          {"3:9", "this start makes steps 1 to 5"}})
    EXPECT_TRUE(fails(train(folder / "run", {"--steps", "5", "--trace-steps", given}), 2, {"--trace-steps", told}));
  EXPECT_EQ(steps_logged(folder / "run"), 0);
}

}  // namespace
}  // namespace shardit

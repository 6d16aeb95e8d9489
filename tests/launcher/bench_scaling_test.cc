#include "launcher/bench_scaling.h"

#include <gtest/gtest.h>

#include "tests/launcher/measured_alone.h"

namespace shardit {
namespace {

Turn turn(int ranks, double step_ms, double exposed_ms, Wire wire = Wire::kOverlapped) {
  return {.ranks = ranks, .wire = wire, .step_ms = step_ms, .exposed_ms = exposed_ms};
}

TEST(Scaling, WeakGivesEveryRankTheConfigsBatch) {
  EXPECT_EQ(scaled(small_config(0), Scaling::kWeak, 3).global_batch_size(), 24);
  EXPECT_EQ(scaled(small_config(0), Scaling::kStrong, 4).global_batch_size(), 8);
}

TEST(Scaling, EfficiencyIsImagesPerRankAgainstTheFirst) {
  const std::vector<Turn> turns = {turn(2, 10, 1), turn(4, 8, 3),   turn(2, 10, 1),
                                   turn(4, 8, 3),  turn(2, 99, 50), turn(4, 5, 2)};
  const auto strong = scaling_points(small_config(0), Scaling::kStrong, turns, nullptr, 1);
  ASSERT_EQ(strong.size(), 2u);
  EXPECT_EQ(strong[0].ranks, 2);
  EXPECT_DOUBLE_EQ(strong[0].images_per_s(), 800) << "the median of 10, 10, 99";
  EXPECT_DOUBLE_EQ(strong[1].images_per_s(), 1000);
  EXPECT_DOUBLE_EQ(strong[1].efficiency, 1000.0 / 4 / (800.0 / 2));
  EXPECT_EQ(strong[1].exposed_ms, 3);
  const auto weak = scaling_points(small_config(0), Scaling::kWeak, turns, nullptr, 1);
  EXPECT_DOUBLE_EQ(weak[1].efficiency, 10.0 / 8);
  EXPECT_FALSE(to_json(weak).at(1).contains("predicted_efficiency"));
}

// What a turn without overlap or without communication takes is not what the step takes.
TEST(Scaling, TurnsOfAnotherWireStandBesideTheStep) {
  const auto points =
      scaling_points(small_config(2), Scaling::kStrong,
                     {turn(1, 10, 0), turn(2, 6, 1), turn(2, 9, 0, Wire::kInLine), turn(2, 5, 0, Wire::kOff),
                      turn(2, 11, 0, Wire::kInLine), turn(2, 10, 0, Wire::kInLine)},
                     nullptr, 1);
  EXPECT_EQ(points[1].step_ms, 6);
  EXPECT_EQ(to_json(points).at(1).at("step_ms_in_line"), 10) << "the median of 9, 10 and 11";
  EXPECT_EQ(to_json(points).at(1).at("step_ms_without_communication"), 5);
  EXPECT_DOUBLE_EQ(to_json(points).at(1).at("efficiency_without_communication"), 10.0 / 5 / 2);
  EXPECT_DOUBLE_EQ(to_json(points).at(1).at("wire_fraction"), 1) << "10 in line, 5 without";
  EXPECT_FALSE(to_json(points).at(0).contains("step_ms_in_line"));
}

TEST(Scaling, ThePredictionIsAnEfficiencyToo) {
  const auto points =
      scaling_points(small_config(2), Scaling::kStrong, {turn(1, 10, 0), turn(2, 6, 0)}, &measured(), 1);
  EXPECT_DOUBLE_EQ(points[0].predicted_efficiency, 1);
  EXPECT_DOUBLE_EQ(points[1].predicted_efficiency, points[0].predicted_step_ms / points[1].predicted_step_ms / 2);
  EXPECT_EQ(to_json(points).at(1).at("predicted_step_ms"), points[1].predicted_step_ms);
}

TEST(Scaling, ThePlotHasACurveForEachAndATickForEveryCount) {
  const auto points =
      scaling_points(small_config(2), Scaling::kStrong, {turn(1, 10, 0), turn(2, 6, 0)}, &measured(), 1);
  const std::string svg = draw_scaling(points, "Strong scaling", "a note");
  EXPECT_TRUE(svg.starts_with("<svg xmlns="));
  for (const char* text : {">measured<", ">predicted<", ">ideal", ">ranks<", ">images/s<", ">1<", ">2<", "a note"})
    EXPECT_NE(svg.find(text), std::string::npos) << text;
  EXPECT_EQ(svg.find(">1.2<"), std::string::npos) << "ranks are whole";
}

}  // namespace
}  // namespace shardit

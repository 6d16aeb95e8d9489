#include "launcher/bench_scaling.h"

#include <algorithm>
#include <map>

#include "launcher/chart.h"
#include "launcher/median.h"
#include "launcher/training_run.h"

namespace shardit {
namespace {

TrainingRunOptions options_for(Wire wire, int threads) {
  return {.device = make_cpu_device(wire == Wire::kInLine ? WireRuns::kInLine : WireRuns::kBeside),
          .threads = threads,
          .communicates = wire != Wire::kOff};
}

Turn median_of(const std::vector<Turn>& turns) {
  std::vector<double> step_ms, exposed_ms;
  for (const Turn& turn : turns) {
    step_ms.push_back(turn.step_ms);
    exposed_ms.push_back(turn.exposed_ms);
  }
  return {turns.front().ranks, turns.front().wire, median(step_ms), median(exposed_ms)};
}

Turn measure(TrainingRun& run, Wire wire, int steps) {
  std::vector<Turn> each;
  for (int i = 0; i < steps; ++i) {
    const StepTime time = run.step();
    each.push_back({run.ranks().size(), wire, time.step_ms, time.exposed_ms});
  }
  return median_of(each);
}

void set_efficiencies(std::vector<ScalingPoint>& points) {
  const auto efficiency = [&first = points.front()](const ScalingPoint& p, double step_ms, double first_step_ms) {
    return p.images_per_s(step_ms) / p.ranks / (first.images_per_s(first_step_ms) / first.ranks);
  };
  const double first_ms = points.front().step_ms, first_predicted_ms = points.front().predicted_step_ms;
  for (ScalingPoint& p : points) {
    p.efficiency = efficiency(p, p.step_ms, first_ms);
    if (p.off_step_ms > 0) p.off_efficiency = efficiency(p, p.off_step_ms, first_ms);
    if (p.predicted_step_ms > 0) p.predicted_efficiency = efficiency(p, p.predicted_step_ms, first_predicted_ms);
  }
}

}  // namespace

RunConfig scaled(RunConfig config, Scaling scaling, int ranks) {
  if (scaling == Scaling::kWeak) config.set_global_batch_size(config.global_batch_size() * ranks);
  return config;
}

Turn measure_turn(const RunConfig& config, World& world, Wire wire, int steps, int threads) {
  TrainingRun run(config, world, options_for(wire, threads));
  return measure(run, wire, steps);
}

Measured measure_alone(const RunConfig& config, int steps, int threads) {
  RunConfig alone = config;
  alone.mutable_parallel()->set_replicate_group(1);
  const auto world = make_single_world();
  TrainingRun run(alone, *world, options_for(Wire::kOverlapped, threads));
  const double step_ms = measure(run, Wire::kOverlapped, steps).step_ms;
  Measured measured;
  for (const char* graph : {"micro_step", "update"})
    measure_kernels(run.program(), run.program().index_of(graph), steps, measured.kernels);
  const double in_graphs = predict_step(alone, 1, measured, threads).ms;
  measured.between_ms = std::max(0.0, step_ms - in_graphs) / static_cast<double>(run.setup().rounds());
  return measured;
}

std::vector<ScalingPoint> scaling_points(const RunConfig& config, Scaling scaling, const std::vector<Turn>& turns,
                                         const Measured* measured, int threads) {
  std::map<int, std::map<Wire, std::vector<Turn>>> by_ranks;
  for (const Turn& turn : turns) by_ranks[turn.ranks][turn.wire].push_back(turn);
  std::vector<ScalingPoint> points;
  for (auto& [ranks, own] : by_ranks) {
    const RunConfig here = scaled(config, scaling, ranks);
    const Turn typical = median_of(own.at(Wire::kOverlapped));
    ScalingPoint& p = points.emplace_back(ScalingPoint{.ranks = ranks,
                                                       .images = here.global_batch_size(),
                                                       .step_ms = typical.step_ms,
                                                       .exposed_ms = typical.exposed_ms});
    if (own.contains(Wire::kInLine)) p.in_line_step_ms = median_of(own[Wire::kInLine]).step_ms;
    if (own.contains(Wire::kOff)) p.off_step_ms = median_of(own[Wire::kOff]).step_ms;
    if (!measured) continue;
    const PredictedStep predicted = predict_step(here, ranks, *measured, threads);
    p.predicted_step_ms = predicted.ms;
    p.predicted_exposed_ms = predicted.total_exposed_ms();
  }
  set_efficiencies(points);
  return points;
}

Json to_json(const std::vector<ScalingPoint>& points) {
  Json list = Json::array();
  for (const ScalingPoint& p : points) {
    Json& json = list.emplace_back(Json{{"ranks", p.ranks},
                                        {"global_batch_images", p.images},
                                        {"images_per_s", p.images_per_s()},
                                        {"efficiency", p.efficiency},
                                        {"step_ms", p.step_ms},
                                        {"exposed_ms", p.exposed_ms}});
    if (p.off_step_ms > 0) {
      json["step_ms_in_line"] = p.in_line_step_ms;
      json["step_ms_without_communication"] = p.off_step_ms;
      json["efficiency_without_communication"] = p.off_efficiency;
      json["wire_fraction"] = p.wire_fraction();
    }
    if (p.predicted_step_ms == 0) continue;
    json["predicted_efficiency"] = p.predicted_efficiency;
    json["predicted_step_ms"] = p.predicted_step_ms;
    json["predicted_exposed_ms"] = p.predicted_exposed_ms;
  }
  return list;
}

std::string draw_scaling(const std::vector<ScalingPoint>& points, const std::string& title, const std::string& note) {
  Series measured{.name = "measured", .look = Series::kDots, .style = 0};
  Series predicted{.name = "predicted", .look = Series::kDots, .style = 1};
  Series ideal{.name = "ideal: as many times the first", .style = 2};
  const ScalingPoint& first = points.front();
  for (const ScalingPoint& p : points) {
    const double ranks = p.ranks;
    measured.points.push_back({ranks, p.images_per_s()});
    if (p.predicted_step_ms > 0) predicted.points.push_back({ranks, p.images_per_s(p.predicted_step_ms)});
    ideal.points.push_back({ranks, first.images_per_s() / first.ranks * ranks});
  }
  return draw_svg({.title = title,
                   .note = note,
                   .unit = "images/s",
                   .x_unit = "ranks",
                   .series = {measured, predicted, ideal},
                   .from_zero = true});
}

}  // namespace shardit

// `shardit bench scaling`: images per second by the number of ranks, measured and predicted. The steps are those of a
// run, without its files: nothing is saved, sampled or validated, and no run directory is touched.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "dist/world.h"
#include "launcher/metrics.h"
#include "launcher/predict.h"
#include "launcher/run_config.pb.h"

namespace shardit {

// strong: the config's global batch, shared by all ranks. weak: that many images for each rank.
enum class Scaling { kStrong, kWeak };
RunConfig scaled(RunConfig config, Scaling scaling, int ranks);

// How a turn communicates.
//   kOverlapped  as a run does
//   kInLine      collectives run in the computing thread, each in its place: nothing overlaps
//   kOff         collectives answer at once with what a rank has itself (dist/echo.h): the same work, and no
//   communication
enum class Wire { kOverlapped, kInLine, kOff };

// What one turn of some rank count gives: medians over its steps, of the slowest rank in each.
struct Turn {
  int ranks = 1;
  Wire wire = Wire::kOverlapped;
  double step_ms = 0, exposed_ms = 0;
};

// Trains `steps` steps after two that are not counted. Collective over the world, which is all of the run.
Turn measure_turn(const RunConfig& config, World& world, Wire wire, int steps, int threads);

// Kernels and what lies between graphs, on this process alone. The link is left to the caller.
Measured measure_alone(const RunConfig& config, int steps, int threads);

struct ScalingPoint {
  int ranks = 1;
  int64_t images = 0;  // of a step
  double step_ms = 0, exposed_ms = 0;
  double in_line_step_ms = 0, off_step_ms = 0;             // 0: not measured
  double predicted_step_ms = 0, predicted_exposed_ms = 0;  // 0: there is no prediction
  // Of images/s per rank, against the first point's. off_efficiency: of this point without communication, which is what
  // its cores and its memory lose by themselves.
  double efficiency = 1, off_efficiency = 0, predicted_efficiency = 0;

  double images_per_s() const { return images_per_s(step_ms); }
  double images_per_s(double of_step_ms) const { return static_cast<double>(images) / of_step_ms * 1e3; }
  // Time on the wire as a share of the time without it.
  double wire_fraction() const { return (in_line_step_ms - off_step_ms) / off_step_ms; }
};

// One point per rank count, in ascending order: medians over its turns. `measured` null: no prediction.
std::vector<ScalingPoint> scaling_points(const RunConfig& config, Scaling scaling, const std::vector<Turn>& turns,
                                         const Measured* measured, int threads);

Json to_json(const std::vector<ScalingPoint>& points);
// Images per second by ranks: measured, predicted and ideal, as an SVG file.
std::string draw_scaling(const std::vector<ScalingPoint>& points, const std::string& title, const std::string& note);

}  // namespace shardit

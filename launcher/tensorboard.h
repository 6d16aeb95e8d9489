// RUN/tensorboard: what the log says, for TensorBoard, under the names that other trainers use there.
//
//   loss_metrics/global_avg_loss  grad_norm  lr  throughput(img/s)  mfu(%)  images
//   time_metrics/end_to_end(s)  …/data_loading(s)  …/communication_exposed(s)  …/slowest_rank(s)
//   memory/max_active(GiB)  gpu/power(W)  gpu/temperature(C)  gpu/sm_clock(MHz)
//                                                              each step, or every so many
//   grad_norm/units                                            histogram over the units
//   validation_metrics/loss  validation_metrics/loss_t_0-25%   the second for each share of t
//   samples                                                    the pictures, as they lie in the run directory
//   config                                                     the resolved config, as text
#pragma once

#include <string>
#include <vector>

#include "launcher/event_file.h"
#include "launcher/metrics.h"
#include "launcher/run_config.pb.h"

namespace shardit {

class TensorBoard {
 public:
  // Begins a file for a run that goes on from `step`: what older files say of later steps no longer counts.
  // REQUIRES: config.every_steps is not 0.
  TensorBoard(FileSystem& files, const std::string& run_dir, const RunConfig::TensorBoard& config, int64_t step);

  void step(const StepMetrics& metrics);
  // The events of metrics.jsonl; most are nothing to draw.
  void event(const std::string& name, int64_t step, const Json& fields);

 private:
  void write(int64_t step, tensorboard::Summary summary);

  FileSystem& files_;
  std::string run_dir_;
  int64_t every_steps_, histogram_every_steps_;
  EventFile file_;
};

// Counts in buckets whose limits grow by a tenth. Values that are not finite are left out.
tensorboard::Histogram histogram(const std::vector<double>& values);

}  // namespace shardit

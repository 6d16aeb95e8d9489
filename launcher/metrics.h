// RUN/metrics.jsonl: one JSON object per step, and one per event, in the order in which they happened.
//
// Step lines have the keys of StepMetrics, `mfu` only where the device's peak is known, and on GPUs that tell them
// gpu_watts, gpu_celsius, gpu_sm_mhz, gpu_throttle: [NVML's name, …]. Event lines have "event" (its name), "step", and
// keys of their own; the report reads these:
//
//   start       ranks, device, parameters, resolved config as "config", machine facts as "environment",
//               planned memory per rank as "plan": [{"class", "bytes"}, …]
//   save        path, bytes, proof_ms, stall_ms, total_ms, digest
//   resume      digest, path, proof, warnings: [broken checkpoints passed over, changed keys, …]
//   sample      path (relative to the run directory), images
//   validation  loss, images, bins: [loss of the lowest range of t, …]
//   corrupt     split, count, samples: [{"sample", "what"}, …], one for each corrupt image that was drawn
//
// The writer is rank 0's. Every line is one write, so a killed run leaves at most one torn line, at the end.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "core/gpu_gauge.h"

namespace shardit {

using Json = nlohmann::ordered_json;

struct StepMetrics {
  int64_t step = 0;    // counts from 1: updates done
  int64_t images = 0;  // seen by the run so far
  double loss = 0, grad_norm = 0, lr = 0;
  double step_ms = 0, images_per_s = 0;
  std::optional<double> mfu;  // fraction of the dense peak
  int64_t mem_bytes = 0;      // in use on the fullest rank
  double comm_exposed_ms = 0, data_wait_ms = 0;
  int slowest_rank = 0;
  double slowest_rank_ms = 0;
  std::optional<GpuReading> gpu;   // of all ranks' GPUs: the most watts, the hottest, the slowest clock, every reason;
                                   // not read back
  std::vector<double> unit_norms;  // of the gradient, unit by unit; not in metrics.jsonl
};

Json to_json(const StepMetrics& metrics);

// Throws Json::exception unless the key is there and its value a whole number.
int64_t whole_number(const Json& object, const char* key);

class MetricsWriter {
 public:
  // Opens `path`, and drops every line after `step` (a resumed run writes these steps again) and a torn last line.
  // A new run gives step 0. Throws IoError if the file cannot be written or holds a corrupt line.
  MetricsWriter(const std::string& path, int64_t step);
  ~MetricsWriter();
  MetricsWriter(const MetricsWriter&) = delete;
  MetricsWriter& operator=(const MetricsWriter&) = delete;

  void step(const StepMetrics& metrics);
  void event(const std::string& name, int64_t step, const Json& fields = Json::object());

 private:
  void write_line(const Json& object);

  std::string path_;
  int file_ = -1;
};

struct MetricsFile {
  std::vector<StepMetrics> steps;
  std::vector<Json> events;
};

// Reads a whole file; a torn last line (of a run that is being written, or was killed) is left out. Throws IoError
// with the line's number on a corrupt line.
MetricsFile read_metrics(const std::string& path);

}  // namespace shardit

// What each rank tells the others after a step, and what the run says of it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/gpu_gauge.h"
#include "launcher/metrics.h"
#include "launcher/run_log.h"
#include "launcher/step_runner.h"

namespace shardit {

struct StepReport {
  double step_ms = 0, exposed_ms = 0, data_wait_ms = 0;
  int64_t mem_bytes = 0;
  GpuReading gpu = {};   // nothing told where the rank computes on a CPU
  bool stop = false;     // a signal, or the time is up
  bool saved = false;    // no save is being written
  bool corrupt = false;  // a sample showed another image than it should
};

// For people only: where the GPU at `pci` (core/cuda_device.h) tells nothing, the log says why, and the run goes on.
std::optional<GpuGauge> open_gauge(const std::string& pci, RunLog& log);

// Of step number `step` (the first is 1): the longest times of any rank, and the rank that computed longest. `result`
// is any rank's: what is taken from it is the same on all. `reports`: by rank.
StepMetrics step_metrics(int64_t step, int64_t global_batch, const StepResult& result,
                         const std::vector<StepReport>& reports);

}  // namespace shardit

#include "launcher/step_report.h"

#include <algorithm>

#include "core/error.h"

namespace shardit {
namespace {

// Of a GPU and those before it: the most watts, the hottest, the slowest clock, every reason.
void add(std::optional<GpuReading>& all, const GpuReading& one) {
  if (!one.told()) return;
  if (!all) return void(all = one);
  all->watts = std::max(all->watts, one.watts);
  all->celsius = std::max(all->celsius, one.celsius);
  if (one.sm_mhz >= 0) all->sm_mhz = all->sm_mhz >= 0 ? std::min(all->sm_mhz, one.sm_mhz) : one.sm_mhz;
  all->throttle |= one.throttle;
}

}  // namespace

std::optional<GpuGauge> open_gauge(const std::string& pci, RunLog& log) {
  try {
    GpuGauge gauge(pci);
    if (gauge.read().told()) return gauge;
    throw DeviceError("NVML gives none of them");
  } catch (const DeviceError& error) {
    log.say(std::string("no watts, heat and clock of the GPU in the log: ") + error.what());
  }
  return {};
}

StepMetrics step_metrics(int64_t step, int64_t global_batch, const StepResult& result,
                         const std::vector<StepReport>& reports) {
  StepMetrics m{.step = step,
                .images = step * global_batch,
                .loss = result.loss,
                .grad_norm = result.grad_norm,
                .lr = result.lr,
                .unit_norms = result.unit_norms};
  for (size_t r = 0; r < reports.size(); ++r) {
    const StepReport& report = reports[r];
    m.mem_bytes = std::max(m.mem_bytes, report.mem_bytes);
    m.step_ms = std::max(m.step_ms, report.step_ms);
    m.comm_exposed_ms = std::max(m.comm_exposed_ms, report.exposed_ms);
    m.data_wait_ms = std::max(m.data_wait_ms, report.data_wait_ms);
    add(m.gpu, report.gpu);
    const double own_ms = report.step_ms - report.exposed_ms;  // a rank that waits for another is not the slow one
    if (own_ms <= m.slowest_rank_ms) continue;
    m.slowest_rank = static_cast<int>(r);
    m.slowest_rank_ms = own_ms;
  }
  m.images_per_s = static_cast<double>(global_batch) / m.step_ms * 1e3;
  return m;
}

}  // namespace shardit

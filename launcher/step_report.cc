#include "launcher/step_report.h"

#include <algorithm>

namespace shardit {

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
    const double own_ms = report.step_ms - report.exposed_ms;  // a rank that waits for another is not the slow one
    if (own_ms <= m.slowest_rank_ms) continue;
    m.slowest_rank = static_cast<int>(r);
    m.slowest_rank_ms = own_ms;
  }
  m.images_per_s = static_cast<double>(global_batch) / m.step_ms * 1e3;
  return m;
}

}  // namespace shardit

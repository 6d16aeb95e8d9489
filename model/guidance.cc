#include "model/guidance.h"

#include <cmath>

#include "ops/ops.h"

namespace shardit {

Network with_guidance(const Network& network, Value null_labels, Value scale, int64_t channels) {
  return [=](Value x, Value t, Value y) {
    const auto scope = x.graph->scope("guidance");
    const Value both = network(repeat_first(x), repeat_first(t), concat_first(y, null_labels));
    return guide(both, scale, channels);
  };
}

double guidance_scale(GuidanceSchedule schedule, double scale, double power, double progress) {
  if (schedule == GuidanceSchedule::kConstant) return scale;
  return 1 + (scale - 1) * 0.5 * (1 - std::cos(M_PI * std::pow(1 - progress, power)));
}

}  // namespace shardit

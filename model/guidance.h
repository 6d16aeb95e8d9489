// Classifier-free guidance (Ho & Salimans 2022) as the released model samples with it.
#pragma once

#include "model/process.h"

namespace shardit {

// The guided network: evaluates `network` on a doubled batch, y in the first half and null_labels in the second, and
// mixes the first `channels` channels by out_u + scale (out_c - out_u); the other channels are the conditional ones.
// scale: (B) real.
Network with_guidance(const Network& network, Value null_labels, Value scale, int64_t channels);

enum class GuidanceSchedule { kConstant, kPowerCosine };

// The scale at `progress` = t / T in [0, 1]: constant, or 1 + (S - 1) (1 - cos(pi (1 - progress)^power)) / 2.
double guidance_scale(GuidanceSchedule schedule, double scale, double power, double progress);

}  // namespace shardit

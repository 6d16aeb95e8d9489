// A small config, and its kernels measured once for all tests; the link costs nothing.
#pragma once

#include "launcher/bench_scaling.h"
#include "launcher/config.h"

namespace shardit {

inline RunConfig small_config(int stage) {
  return parse_config(
      "steps: 1 global_batch_size: 8 micro_batch_size: 2 "
      "model { input_size: 6 in_channels: 1 patch_size: 2 hidden_size: 24 depth: 2 num_heads: 2 "
      "num_classes: 3 } data { kind: synthetic } parallel { zero_stage: " +
          std::to_string(stage) + " }",
      "test");
}

inline const Measured& measured() {
  static const Measured once = [] {
    Measured m = measure_alone(small_config(2), 3, 1);
    m.link = {.step_us = 0, .gb_per_s = 1e6};
    return m;
  }();
  return once;
}

}  // namespace shardit

// Slow machines with round numbers, which no test has to measure.
#pragma once

#include "launcher/cluster.h"

namespace shardit {

inline constexpr const char* kSmallCluster =
    "about: 'made up'  ranks_per_node: 8  memory_gib: 1 "
    "fp32_tflops: 0.001  bf16_tflops: 0.002  copies_gb_per_s: 10 "
    "op { card: 'linear'  of_limit: 0.8  of_limit_in_bf16: 0.4 }  of_limit: 0.5  kernel_us: 2  between_rounds_ms: 0.25 "
    "inside { gb_per_s: 10  step_us: 1 }  across { gb_per_s: 1  step_us: 10 } ";

inline Cluster small_cluster() { return parse_cluster(kSmallCluster, "small", {}, 1); }

}  // namespace shardit

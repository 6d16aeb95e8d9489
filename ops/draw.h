// What the kernels of keyed draws know of them.
#pragma once

#include <string>

#include "core/graph.h"
#include "core/random.h"
#include "ops/text.h"

namespace shardit {

struct DrawAttrs : Attrs {
  Shape per_image;
  int64_t n = 0;  // draw_integer: exclusive upper end; drop_labels: the null label; sample_ids: the count
  double probability = 0;
  uint64_t seed = 0;
  Purpose purpose = Purpose::kNoise;

  Philox philox() const { return Philox(seed, purpose); }
  std::string text() const override {
    return per_image.str() + " n=" + std::to_string(n) + " p=" + text_of(probability) +
           " seed=" + std::to_string(seed) + " purpose=" + std::to_string(static_cast<int>(purpose));
  }
};

}  // namespace shardit

// What the kernels of losses know of them.
#pragma once

#include <string>

#include "core/graph.h"
#include "ops/text.h"

namespace shardit {

struct WeightAttrs : Attrs {
  double weight = 1;
  int64_t count = 0;
  std::string text() const override { return text_of(weight) + (count ? " x " + std::to_string(count) : ""); }
};

}  // namespace shardit

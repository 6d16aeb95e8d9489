// What the kernels of fold and sum_groups know of them.
#pragma once

#include <string>

#include "ops/ops.h"

namespace shardit {

struct FoldAttrs : Attrs {
  FoldOrder order;
  std::string text() const override {
    std::string text = std::to_string(order.terms) + " in groups of " + std::to_string(order.group);
    if (order.per_round > 1) text += ", " + std::to_string(order.per_round) + " a round";
    return text;
  }
};

}  // namespace shardit

// What the kernels of layer_norm know of it.
#pragma once

#include <string>

#include "core/graph.h"

namespace shardit {

struct NormAttrs : Attrs {
  double epsilon = 0;
  std::string text() const override { return "epsilon " + std::to_string(epsilon); }
};

}  // namespace shardit

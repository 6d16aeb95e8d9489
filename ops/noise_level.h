// What the kernels of noise levels know of them.
#pragma once

#include <string>

#include "core/graph.h"
#include "ops/text.h"

namespace shardit {

struct NumbersAttrs : Attrs {
  double a = 0, b = 0;
  std::string text() const override { return text_of(a) + ", " + text_of(b); }
};

}  // namespace shardit

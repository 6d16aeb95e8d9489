// What the kernels of attention know of it, on the CPU and on the GPU.
#pragma once

#include <cmath>
#include <cstdint>
#include <string>

#include "core/graph.h"

namespace shardit {

struct AttentionAttrs : Attrs {
  int heads = 1;
  std::string text() const override { return "heads " + std::to_string(heads); }
};

// The w of w x w tokens; -1 where they are not a square.
inline int64_t side_of(int64_t tokens) {
  int64_t w = static_cast<int64_t>(std::llround(std::sqrt(static_cast<double>(tokens))));
  return w * w == tokens ? w : -1;
}

}  // namespace shardit

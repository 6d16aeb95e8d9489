// What the kernels of guidance know of it.
#pragma once

#include <string>

#include "core/graph.h"

namespace shardit {

struct GuideAttrs : Attrs {
  int64_t channels = 0;
  std::string text() const override { return std::to_string(channels); }
};

}  // namespace shardit

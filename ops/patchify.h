// What the kernels of patchify and unpatchify know of them.
#pragma once

#include <string>

#include "ops/ops.h"

namespace shardit {

struct PatchAttrs : Attrs {
  int64_t patch = 1, channels = 1;
  PatchOrder order = PatchOrder::kChannelLast;
  std::string text() const override {
    return "patch " + std::to_string(patch) + " channels " + std::to_string(channels) +
           (order == PatchOrder::kChannelFirst ? " channel first" : " channel last");
  }
};

}  // namespace shardit

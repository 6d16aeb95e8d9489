// Which of attention's ways a shape takes on the current device.
#include "core/cuda.h"
#include "ops/attention_device.h"

namespace shardit::attention_device {

Way forward_way(const Sizes& z) {
  if (!on_tensor_cores(z)) return Way::kPlain;
  return has_warpgroup_products() ? Way::kWarpgroups : Way::kWarps;
}

// A block of the warpgroups' kernels has an SM to itself: over four tiles nothing hides how it begins and ends, and the
// warps' two blocks to an SM are faster (docs/attention.md).
Way backward_way(const Sizes& z) {
  constexpr int kLeastTokens = 1024;
  return z.tokens >= kLeastTokens ? forward_way(z) : on_tensor_cores(z) ? Way::kWarps : Way::kPlain;
}

void forward(const Sizes& z, const Forward& a, Way way, void* stream) {
  switch (way) {
    case Way::kPlain:
      return plain_forward(z, a, stream);
    case Way::kWarps:
      return warp_forward(z, a, stream);
    case Way::kWarpgroups:
      return warpgroup_forward(z, a, stream);
  }
}

void backward(const Sizes& z, const Backward& a, Way way, void* stream) {
  switch (way) {
    case Way::kPlain:
      return plain_backward(z, a, stream);
    case Way::kWarps:
      return warp_backward(z, a, stream);
    case Way::kWarpgroups:
      return warpgroup_backward(z, a, stream);
  }
}

}  // namespace shardit::attention_device

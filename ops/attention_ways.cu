// Which of attention's ways a shape takes on the current device.
#include "core/cuda.h"
#include "ops/attention_device.h"

namespace shardit::attention_device {

namespace {

Way on_hopper_if(const Sizes& z, bool faster) {
  if (!on_tensor_cores(z)) return Way::kPlain;
  return faster && has_warpgroup_products() ? Way::kWarpgroups : Way::kWarps;
}

}  // namespace

// As measured (docs/attention.md).
Way forward_way(const Sizes& z) { return on_hopper_if(z, true); }
Way backward_way(const Sizes& z) { return on_hopper_if(z, z.tokens >= 1024 || z.depth == 64); }

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

// Which of attention's ways a shape takes on the current device.
#include "core/cuda.h"
#include "ops/attention_device.h"

namespace shardit::attention_device {

namespace {

// Over the four tiles of 256 tokens a block of the warpgroups' kernels has too little to hide its begin and end behind.
constexpr int kLeastTokens = 1024;

Way on_hopper_if(const Sizes& z, bool faster) {
  if (!on_tensor_cores(z)) return Way::kPlain;
  return faster && has_warpgroup_products() ? Way::kWarpgroups : Way::kWarps;
}

}  // namespace

// As measured (docs/attention.md).
Way forward_way(const Sizes& z) { return on_hopper_if(z, z.tokens >= kLeastTokens); }
Way backward_way(const Sizes& z) { return on_hopper_if(z, z.tokens >= kLeastTokens && z.depth == 72); }

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

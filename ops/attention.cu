// The cards' entries on the GPU (attention_device.h).
#include "ops/attention_device.h"

#include <glog/logging.h>
#include "core/op_card.h"

namespace shardit {
namespace {

using namespace attention_device;

// Sizes of a node whose qkv, qkv_time and bias stand at input `first` and after it. The kernels on tensor cores read
// and write 16 bytes at a time; all others take any address.
Sizes checked_sizes(const KernelArgs& k, int first) {
  const DType type = k.in[first].dtype();
  CHECK(type == DType::kF32 || type == DType::kBF16) << "no device kernel for attention in " << name_of(type);
  for (int i : {1, 2}) CHECK(k.in[first + i].dtype() == type) << "attention mixes element types";
  const Sizes z = sizes_of(k.in[first].shape(), k.attr<AttentionAttrs>().heads, type);
  if (!on_tensor_cores(z)) return z;
  for (const auto operands : {k.in, k.out})
    for (const TensorRef& x : operands)
      CHECK_EQ(reinterpret_cast<uintptr_t>(x.data) % 16, 0u) << "attention is not aligned";
  return z;
}

}  // namespace

void attention_cuda(const KernelArgs& k, void* stream) {
  const Sizes z = checked_sizes(k, 0);
  forward(z, {k.in[0].data, k.in[1].data, k.in[2].data, k.out[0].data, k.out[1].as<float>()}, forward_way(z), stream);
}

void attention_grad_cuda(const KernelArgs& k, void* stream) {
  const Sizes z = checked_sizes(k, 1);
  backward(z,
           {.dout = k.in[0].data,
            .qkv = k.in[1].data,
            .qkv_time = k.in[2].data,
            .bias = k.in[3].data,
            .lse = k.in[5].as<float>(),
            .out = k.in[4].data,
            .dqkv = k.out[0].data,
            .dqkv_time = k.out[1].data,
            .dbias = k.out[2].as<float>(),
            .workspace = k.workspace},
           backward_way(z), stream);
}

}  // namespace shardit

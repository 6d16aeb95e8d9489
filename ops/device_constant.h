// Constant ops on the GPU: computed once, before the first run, on the host, and copied. So they have the CPU's bits.
#pragma once

#include <vector>

#include "core/cuda.h"
#include "core/op_card.h"

namespace shardit::device {

// REQUIRES: the card is constant and has one output and no inputs.
inline void compute_on_host(const OpCard& card, const KernelArgs& k, void* stream) {
  std::vector<std::byte> host(static_cast<size_t>(k.out[0].type.bytes()));
  const TensorRef out{host.data(), k.out[0].type};
  Pool pool(1);
  card.cpu({.out = {&out, 1}, .attrs = k.attrs, .pool = &pool});
  upload(k.out[0].data, host.data(), host.size(), stream);
}

}  // namespace shardit::device

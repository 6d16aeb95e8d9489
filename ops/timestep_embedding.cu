// The time's sines and cosines (timestep_embedding.cc): frequencies and angles with the CPU's bits, the GPU's own fp64
// sine and cosine. A thread has one frequency of one image.
#include "ops/timestep_embedding.h"

#include "ops/device.h"

namespace shardit {
namespace {

template <typename T, typename Y>
__global__ void __launch_bounds__(kFrequencies) timestep_embedding_kernel(const T* t, Y* y) {
  const int64_t image = blockIdx.x, i = threadIdx.x;
  const double angle = static_cast<double>(static_cast<float>(t[image]) * frequency(i));
  Y* to = y + image * 2 * kFrequencies;
  to[i] = Y(static_cast<float>(cos(angle)));
  to[kFrequencies + i] = Y(static_cast<float>(sin(angle)));
}

template <typename T, typename Y> void embed(const KernelArgs& k, void* stream) {
  launch(timestep_embedding_kernel<T, Y>, static_cast<unsigned>(k.in[0].numel()), static_cast<unsigned>(kFrequencies),
         0, stream, k.in[0].as<T>(), k.out[0].as<Y>());
}

}  // namespace

void timestep_embedding_cuda(const KernelArgs& k, void* stream) {
  device::visit(k.out[0].dtype(), [&]<typename Y>(Y) {
    switch (k.in[0].dtype()) {
      case DType::kI64:
        return embed<int64_t, Y>(k, stream);
      case DType::kF32:
        return embed<float, Y>(k, stream);
      case DType::kF64:
        return embed<double, Y>(k, stream);
      default:
        LOG(FATAL) << "timestep_embedding: no kernel for time steps of type " << name_of(k.in[0].dtype());
    }
  });
}

}  // namespace shardit

// Losses per image and their sum (loss.cc). Bound by bytes. Bit-equal to the CPU: terms and sums are fp64.
#include "ops/loss.h"

#include "ops/device_map.h"
#include "ops/device_sums.h"

namespace shardit {
namespace {

constexpr int kThreads = 256;

template <typename P, typename T> struct SquaredErrors {
  const P* pred;
  const T* target;

  __device__ SquaredErrors operator()(int64_t) const { return *this; }  // an image's are the batch's
  __device__ double at(int64_t i) const {
    const double d = static_cast<double>(static_cast<float>(pred[i])) - static_cast<float>(target[i]);
    return d * d;
  }
};

struct Mean {
  double per_image;
  __device__ float operator()(double sum) const { return static_cast<float>(sum / per_image); }
};

struct ErrorGrad {
  float per_image;
  __device__ float operator()(float dloss, float pred, float target) const {
    return dloss * 2.0f / per_image * (pred - target);
  }
};

// One thread: a batch has few images, and the order of the sum is that of the batch.
__global__ void weighted_sum_kernel(const float* x, float* y, int64_t n, double weight) {
  double sum = 0;
#pragma unroll 16
  for (int64_t i = 0; i < n; ++i) sum += static_cast<double>(x[i]);
  y[0] = static_cast<float>(weight * sum);
}

__global__ void __launch_bounds__(kThreads) expand_scalar_kernel(const float* x, float* y, int64_t n, double weight) {
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i < n) y[i] = static_cast<float>(weight * static_cast<double>(x[0]));
}

unsigned blocks_of(int64_t n, int64_t per_block) { return static_cast<unsigned>(device::blocks_for(n, per_block)); }

// Losses and their gradients are exact: fp32, whatever the model computes in.
void require_exact(const TensorRef& t) { CHECK(t.dtype() == DType::kF32) << "a loss is " << name_of(t.dtype()); }

}  // namespace

void mean_squared_error_cuda(const KernelArgs& k, void* stream) {
  const Shape& shape = k.in[0].shape();
  require_exact(k.out[0]);
  device::visit(k.in[0].dtype(), k.in[1].dtype(), [&]<typename P, typename T>(P, T) {
    device::image_sums(k, stream, shape, SquaredErrors<P, T>{k.in[0].as<P>(), k.in[1].as<T>()},
                       Mean{static_cast<double>(shape.numel() / shape[0])});
  });
}

void mean_squared_error_grad_cuda(const KernelArgs& k, void* stream) {
  const Shape& shape = k.in[0].shape();
  const int64_t n = shape.numel();
  require_exact(k.in[2]);
  device::visit(k.in[0].dtype(), k.in[1].dtype(), k.out[0].dtype(), [&]<typename P, typename T, typename Y>(P, T, Y) {
    device::visit_pack<P, T, Y>({n / shape[0]}, {k.in[0].data, k.in[1].data, k.out[0].data}, [&](auto v) {
      device::map<v>(stream, ErrorGrad{static_cast<float>(n / shape[0])}, k.out[0].as<Y>(), n,
                     device::PerImage<float>{k.in[2].as<float>(), device::packs_per_image(shape, v)},
                     device::Stream<P>{k.in[0].as<P>()}, device::Stream<T>{k.in[1].as<T>()});
    });
  });
}

void weighted_sum_cuda(const KernelArgs& k, void* stream) {
  require_exact(k.in[0]);
  require_exact(k.out[0]);
  launch(weighted_sum_kernel, 1, 1, 0, stream, k.in[0].as<float>(), k.out[0].as<float>(), k.in[0].numel(),
         k.attr<WeightAttrs>().weight);
}

void expand_scalar_cuda(const KernelArgs& k, void* stream) {
  require_exact(k.in[0]);
  require_exact(k.out[0]);
  launch(expand_scalar_kernel, blocks_of(k.out[0].numel(), kThreads), kThreads, 0, stream, k.in[0].as<float>(),
         k.out[0].as<float>(), k.out[0].numel(), k.attr<WeightAttrs>().weight);
}

}  // namespace shardit

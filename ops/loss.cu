// Losses per image and their sum (loss.cc). Bound by bytes. Bit-equal to the CPU: terms and sums are fp64 in the order
// of image_sums, 16 interleaved lanes within a block of 1,024 elements, then lanes, then blocks.
#include "ops/loss.h"

#include "ops/device_map.h"

namespace shardit {
namespace {

constexpr int kSumBlock = 1024, kSumLanes = 16;  // as in images.h, whose workspace holds the partial sums
constexpr int kThreads = 256, kThreadSums = kThreads / kSumLanes;

// partial[image][block] = the sum of (pred - target)^2 over the block; 16 threads have one block, a thread one lane.
template <typename P, typename T>
__global__ void __launch_bounds__(kThreads) squared_error_kernel(const P* pred, const T* target, double* partial,
                                                                 int64_t sums, int64_t blocks, int64_t per_image) {
  const int64_t sum_index = int64_t{blockIdx.x} * kThreadSums + threadIdx.x / kSumLanes;
  const int lane = static_cast<int>(threadIdx.x) % kSumLanes;
  double sum = 0;
  if (sum_index < sums) {
    const int64_t first = sum_index % blocks * kSumBlock;
    const int64_t end = first + kSumBlock < per_image ? first + kSumBlock : per_image;
    const int64_t image = sum_index / blocks * per_image;
#pragma unroll 8
    for (int64_t i = first + lane; i < end; i += kSumLanes) {
      const double d = static_cast<double>(static_cast<float>(pred[image + i])) - static_cast<float>(target[image + i]);
      sum += d * d;
    }
  }
  double total = __shfl_sync(device::kAllLanes, sum, 0, kSumLanes);
  for (int l = 1; l < kSumLanes; ++l) total += __shfl_sync(device::kAllLanes, sum, l, kSumLanes);
  if (lane == 0 && sum_index < sums) partial[sum_index] = total;
}

__global__ void __launch_bounds__(kThreads)
    mean_kernel(const double* partial, float* loss, int64_t images, int64_t blocks, double per_image) {
  const int64_t image = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (image >= images) return;
  double sum = 0;
#pragma unroll 8
  for (int64_t b = 0; b < blocks; ++b) sum += partial[image * blocks + b];
  loss[image] = static_cast<float>(sum / per_image);
}

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
  const int64_t images = k.in[0].shape()[0], per_image = k.in[0].numel() / images;
  const int64_t blocks = device::blocks_for(per_image, kSumBlock), sums = images * blocks;
  auto* partial = reinterpret_cast<double*>(k.workspace);
  require_exact(k.out[0]);
  device::visit(k.in[0].dtype(), k.in[1].dtype(), [&]<typename P, typename T>(P, T) {
    launch(squared_error_kernel<P, T>, blocks_of(sums, kThreadSums), kThreads, 0, stream, k.in[0].as<P>(),
           k.in[1].as<T>(), partial, sums, blocks, per_image);
  });
  launch(mean_kernel, blocks_of(images, kThreads), kThreads, 0, stream, partial, k.out[0].as<float>(), images, blocks,
         per_image);
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

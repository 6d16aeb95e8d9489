// Sums over images in fp64, with the CPU's bits (image_sums in images.h): 16 interleaved lanes within a block of 1,024
// elements, then lanes, then blocks.
#pragma once

#include "ops/device.h"

namespace shardit::device {

inline constexpr int kSumBlock = 1024, kSumLanes = 16;  // as in images.h, whose workspace holds the partial sums
inline constexpr int kSumThreads = 256, kThreadSums = kSumThreads / kSumLanes;

// partial[image][block] = the sum over the block of terms(image).at(i), i counted from the batch's first element; 16
// threads have one block, a thread one lane.
template <typename Terms>
__global__ void __launch_bounds__(kSumThreads)
    sum_blocks_of_images(Terms terms, double* partial, int64_t sums, int64_t blocks, int64_t per_image) {
  const int64_t sum_index = int64_t{blockIdx.x} * kThreadSums + threadIdx.x / kSumLanes;
  const int lane = static_cast<int>(threadIdx.x) % kSumLanes;
  double sum = 0;
  if (sum_index < sums) {
    const int64_t image = sum_index / blocks, first = sum_index % blocks * kSumBlock;
    const int64_t end = first + kSumBlock < per_image ? first + kSumBlock : per_image;
    const auto term = terms(image);
#pragma unroll 8
    for (int64_t i = first + lane; i < end; i += kSumLanes) sum += term.at(image * per_image + i);
  }
  double total = __shfl_sync(kAllLanes, sum, 0, kSumLanes);
  for (int l = 1; l < kSumLanes; ++l) total += __shfl_sync(kAllLanes, sum, l, kSumLanes);
  if (lane == 0 && sum_index < sums) partial[sum_index] = total;
}

// out[image] = finish(the sum of its blocks)
template <typename Finish>
__global__ void __launch_bounds__(kSumThreads)
    finish_sums_of_images(Finish finish, const double* partial, float* out, int64_t images, int64_t blocks) {
  const int64_t image = int64_t{blockIdx.x} * kSumThreads + threadIdx.x;
  if (image >= images) return;
  double sum = 0;
#pragma unroll 8
  for (int64_t b = 0; b < blocks; ++b) sum += partial[image * blocks + b];
  out[image] = finish(sum);
}

// REQUIRES: scratch of image_sums_workspace.
template <typename Terms, typename Finish>
void image_sums(const KernelArgs& k, void* stream, const Shape& x, Terms terms, Finish finish) {
  const int64_t images = x[0], per_image = x.numel() / images;
  const int64_t blocks = blocks_for(per_image, kSumBlock), sums = images * blocks;
  auto* partial = reinterpret_cast<double*>(k.workspace);
  launch(sum_blocks_of_images<Terms>, static_cast<unsigned>(blocks_for(sums, kThreadSums)), kSumThreads, 0, stream,
         terms, partial, sums, blocks, per_image);
  launch(finish_sums_of_images<Finish>, static_cast<unsigned>(blocks_for(images, kSumThreads)), kSumThreads, 0, stream,
         finish, partial, k.out[0].as<float>(), images, blocks);
}

}  // namespace shardit::device

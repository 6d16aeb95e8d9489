// Sums of squares and the norm (gradient_norm.cc). Bound by bytes, read once. Bit-equal to the CPU: a chunk is summed
// in the same 16 fp64 lanes and halves, and limbs are exact in any order.
#include "core/layout.h"
#include "ops/device.h"
#include "ops/limbs.h"

namespace shardit {
namespace {

constexpr int kChunkThreads = 4;  // of a chunk; each has four of its 16 lanes
constexpr int kThreads = static_cast<int>(kTileChunks) * kChunkThreads;
constexpr int kWarps = kThreads / device::kWarp;

// The sum over the block's threads, for thread 0.
__device__ Limbs block_sum(Limbs limbs) {
  SHARDIT_SHARED(int64_t, warps, [kWarps][kLimbs + 1]);
  const int warp = static_cast<int>(threadIdx.x) / device::kWarp;
  for (int i = 0; i <= kLimbs; ++i) {
    const int64_t sum = device::warp_sum(limbs.at[i]);
    if (threadIdx.x % device::kWarp == 0) warps[warp][i] = sum;
  }
  __syncthreads();
  limbs = {};
  if (threadIdx.x == 0)
    for (int w = 0; w < kWarps; ++w) limbs.add(warps[w]);
  return limbs;
}

template <typename T>
__global__ void __launch_bounds__(kThreads) square_sum_kernel(const T* x, Limbs* partial, int64_t chunks) {
  constexpr int V = 4, kSteps = static_cast<int>(kChunk) / (V * kChunkThreads);
  const int64_t chunk = int64_t{blockIdx.x} * kTileChunks + threadIdx.x / kChunkThreads;
  const int part = static_cast<int>(threadIdx.x) % kChunkThreads;
  double lanes[V] = {};
  if (chunk < chunks) {
    const T* from = x + chunk * kChunk;
#pragma unroll 8
    for (int i = 0; i < kSteps; ++i) {
      const device::Pack<T, V> pack = device::load<V>(from, i * kChunkThreads + part);
#pragma unroll
      for (int j = 0; j < V; ++j) {
        const double e = pack[j];
        lanes[j] += e * e;
      }
    }
  }
  for (int half = kChunkThreads / 2; half > 0; half /= 2)  // lanes 8 … 15 join 0 … 7, then 4 … 7 join 0 … 3
#pragma unroll
    for (int j = 0; j < V; ++j) lanes[j] += __shfl_xor_sync(device::kAllLanes, lanes[j], half);
  Limbs limbs;
  if (part == 0 && chunk < chunks) limbs.add((lanes[0] + lanes[2]) + (lanes[1] + lanes[3]));
  limbs = block_sum(limbs);
  if (threadIdx.x == 0) partial[blockIdx.x] = limbs;
}

__global__ void __launch_bounds__(kThreads) sum_limbs_kernel(const Limbs* parts, int64_t count, int64_t* out) {
  Limbs sum;
  for (int64_t i = threadIdx.x; i < count; i += kThreads) sum.add(parts[i].at);
  sum = block_sum(sum);
  if (threadIdx.x != 0) return;
  for (int i = 0; i <= kLimbs; ++i) out[i] = sum.at[i];
}

__device__ double norm_of(const Limbs& limbs) { return limbs.finite() ? sqrt(limbs.value()) : nan(""); }

// limbs (shards, units)
__global__ void __launch_bounds__(kThreads) gradient_norm_kernel(const Limbs* limbs, int64_t shards, int64_t units,
                                                                 double clip, double* out, double* of_units) {
  Limbs all;
  for (int64_t u = threadIdx.x; u < units; u += kThreads) {
    Limbs unit;
    for (int64_t s = 0; s < shards; ++s) unit.add(limbs[s * units + u].at);
    of_units[u] = norm_of(unit);
    all.add(unit.at);
  }
  all = block_sum(all);
  if (threadIdx.x != 0) return;
  const double norm = norm_of(all);
  out[0] = norm;
  out[1] = clip > 0 && norm > clip ? clip / norm : 1.0;
  out[2] = all.finite();
}

}  // namespace

void square_sum_cuda(const KernelArgs& k, void* stream) {
  const int64_t chunks = k.in[0].numel() / kChunk, tiles = device::blocks_for(chunks, kTileChunks);
  auto* partial = reinterpret_cast<Limbs*>(k.workspace);
  device::visit(k.in[0].dtype(), [&]<typename T>(T) {
    if (tiles > 0)
      launch(square_sum_kernel<T>, static_cast<unsigned>(tiles), kThreads, 0, stream, k.in[0].as<T>(), partial, chunks);
  });
  launch(sum_limbs_kernel, 1, kThreads, 0, stream, partial, tiles, k.out[0].as<int64_t>());
}

void gradient_norm_cuda(const KernelArgs& k, void* stream) {
  const GradientNormAttrs& a = k.attr<GradientNormAttrs>();
  const int64_t shards = k.in[0].numel() / (kLimbs + 1) / a.units;
  launch(gradient_norm_kernel, 1, kThreads, 0, stream, k.in[0].as<Limbs>(), shards, a.units, a.clip,
         k.out[0].as<double>(), k.out[1].as<double>());
}

}  // namespace shardit

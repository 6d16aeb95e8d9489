// The two-level sum of micro-batch gradients (fold.cc). Bound by bytes; a thread folds all terms of its packs in their
// order, so results are the CPU's to the bit.
#include "ops/fold.h"

#include "ops/device.h"

namespace shardit {
namespace {

constexpr int kThreads = 256;

template <int V, typename X> __device__ __forceinline__ void accumulate(bool first, const X& x, float (&sum)[V]) {
#pragma unroll
  for (int j = 0; j < V; ++j) sum[j] = first ? x[j] : sum[j] + x[j];
}

template <int V> __device__ __forceinline__ void read(const float* p, int64_t pack, float (&x)[V]) {
  accumulate(true, device::load<V>(p, pack), x);
}

// `outer` is null where there is one group.
template <int V, typename X>
__global__ void __launch_bounds__(kThreads) fold_kernel(const X* gradient, const int64_t* counters, float* inner,
                                                        float* outer, int64_t packs, FoldOrder order) {
  const int64_t pack = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (pack >= packs) return;
  const int64_t first = counters[1] / order.micro_batches * order.per_round;
  float sum[V], groups[V];
  if (first % order.group != 0) read(inner, pack, sum);
  if (outer && first >= order.group) read(outer, pack, groups);
  for (int64_t term = first; term < first + order.per_round; ++term) {
    accumulate(term % order.group == 0, device::load<V>(gradient, (term - first) * packs + pack), sum);
    const bool group_ends = (term + 1) % order.group == 0 || term + 1 == order.terms;
    if (!outer || !group_ends) continue;
    accumulate(term < order.group, sum, groups);
    device::store<V>(outer, pack, groups);
  }
  device::store<V>(inner, pack, sum);
}

// sums[g] = the terms of group g, added in order; blockIdx.y is the group.
template <int V, typename X>
__global__ void __launch_bounds__(kThreads)
    sum_groups_kernel(const X* terms, float* sums, int64_t packs, int64_t group) {
  const int64_t pack = int64_t{blockIdx.x} * kThreads + threadIdx.x, g = blockIdx.y;
  if (pack >= packs) return;
  float sum[V];
  for (int64_t j = 0; j < group; ++j) accumulate(j == 0, device::load<V>(terms, (g * group + j) * packs + pack), sum);
  device::store<V>(sums, g * packs + pack, sum);
}

unsigned blocks(int64_t packs) { return static_cast<unsigned>(device::blocks_for(packs, kThreads)); }

}  // namespace

void fold_cuda(const KernelArgs& k, void* stream) {
  const int64_t n = k.out[0].numel();
  float* outer = k.out.size() > 1 ? k.out[1].as<float>() : nullptr;
  device::visit(k.in[0].dtype(), [&]<typename X>(X) {
    device::visit_pack<X, float>({n}, {k.in[0].data, k.out[0].data, outer}, [&](auto v) {
      launch(fold_kernel<v, X>, blocks(n / v), kThreads, 0, stream, k.in[0].as<X>(), k.in[1].as<int64_t>(),
             k.out[0].as<float>(), outer, n / v, k.attr<FoldAttrs>().order);
    });
  });
}

void sum_groups_cuda(const KernelArgs& k, void* stream) {
  const FoldOrder& o = k.attr<FoldAttrs>().order;
  const int64_t groups = o.terms / o.group, n = k.out[0].numel() / groups;
  device::visit(k.in[0].dtype(), [&]<typename X>(X) {
    device::visit_pack<X, float>({n}, {k.in[0].data, k.out[0].data}, [&](auto v) {
      launch(sum_groups_kernel<v, X>, dim3(blocks(n / v), static_cast<unsigned>(groups)), kThreads, 0, stream,
             k.in[0].as<X>(), k.out[0].as<float>(), n / v, o.group);
    });
  });
}

}  // namespace shardit

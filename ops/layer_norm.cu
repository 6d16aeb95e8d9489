// Layer norm and its gradient (formulas in layer_norm.cc). Bound by bytes: a warp keeps its row in registers, so that
// every element is read once and written once; a row that is too wide for that is read again, from the caches.
//
// Lane l of a warp holds packs l, l + 32, … of its row. It adds its elements in order, then the lanes are added in a
// butterfly.
#include "ops/layer_norm.h"

#include "ops/device.h"

namespace shardit {
namespace {

using device::kWarp;
using device::Pack;

constexpr int kRows = 4;  // of a block, one per warp

// Calls f(k, i) for the lane's packs i = lane + 32 k of a row; kPacks is their largest number, 0 where it has no limit.
template <int kPacks, typename F> __device__ __forceinline__ void for_packs(int packs, F&& f) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  if constexpr (kPacks == 0) {
    for (int i = lane, k = 0; i < packs; i += kWarp, ++k) f(k, i);
  } else {
#pragma unroll
    for (int k = 0; k < kPacks; ++k)
      if (const int i = lane + k * kWarp; i < packs) f(k, i);
  }
}

// The lane's packs of a row, in registers.
template <typename T, int V, int kPacks> struct Row {
  Pack<T, V> held[kPacks];

  __device__ __forceinline__ Row(const T* row, int packs) {
    for_packs<kPacks>(packs, [&](int k, int i) { held[k] = device::load<V>(row, i); });
  }
  __device__ __forceinline__ Pack<T, V> pack(int k, int) const { return held[k]; }
};

// The same where nothing is kept.
template <typename T, int V> struct Row<T, V, 0> {
  const T* row;

  __device__ __forceinline__ Row(const T* row, int) : row(row) {}
  __device__ __forceinline__ Pack<T, V> pack(int, int i) const { return device::load<V>(row, i); }
};

template <int V, int kPacks, typename X, typename Y>
__global__ void __launch_bounds__(kRows* kWarp)
    layer_norm_kernel(const X* x, Y* y, float* means, float* rstds, int64_t rows, int columns, float epsilon) {
  const int64_t r = int64_t{blockIdx.x} * kRows + threadIdx.x / kWarp;
  if (r >= rows) return;
  const int packs = columns / V;
  const Row<X, V, kPacks> row(x + r * columns, packs);

  float sum = 0;
  for_packs<kPacks>(packs, [&](int k, int i) {
    const Pack<X, V> pack = row.pack(k, i);
#pragma unroll
    for (int j = 0; j < V; ++j) sum += pack[j];
  });
  const float mean = device::warp_sum(sum) / static_cast<float>(columns);

  float squares = 0;
  for_packs<kPacks>(packs, [&](int k, int i) {
    const Pack<X, V> pack = row.pack(k, i);
#pragma unroll
    for (int j = 0; j < V; ++j) squares = fmaf(pack[j] - mean, pack[j] - mean, squares);
  });
  const float rstd = 1.0f / sqrtf(device::warp_sum(squares) / static_cast<float>(columns) + epsilon);

  if (threadIdx.x % kWarp == 0) {
    means[r] = mean;
    rstds[r] = rstd;
  }
  for_packs<kPacks>(packs, [&](int k, int i) {
    const Pack<X, V> pack = row.pack(k, i);
    float out[V];
#pragma unroll
    for (int j = 0; j < V; ++j) out[j] = (pack[j] - mean) * rstd;
    device::store<V>(y + r * columns, i, out);
  });
}

template <int V, int kPacks, typename D, typename X>
__global__ void __launch_bounds__(kRows* kWarp)
    layer_norm_grad_kernel(const D* dy, const X* x, const float* means, const float* rstds, X* dx, int64_t rows,
                           int columns) {
  const int64_t r = int64_t{blockIdx.x} * kRows + threadIdx.x / kWarp;
  if (r >= rows) return;
  const int packs = columns / V;
  const Row<D, V, kPacks> dy_row(dy + r * columns, packs);
  const Row<X, V, kPacks> x_row(x + r * columns, packs);
  const float mean = means[r], rstd = rstds[r];

  float sum = 0, product = 0;
  for_packs<kPacks>(packs, [&](int k, int i) {
    const Pack<D, V> d = dy_row.pack(k, i);
    const Pack<X, V> pack = x_row.pack(k, i);
#pragma unroll
    for (int j = 0; j < V; ++j) {
      sum += d[j];
      product = fmaf(d[j], pack[j] - mean, product);
    }
  });
  const float a = device::warp_sum(sum) / static_cast<float>(columns);
  const float b = rstd * rstd * (device::warp_sum(product) / static_cast<float>(columns));

  for_packs<kPacks>(packs, [&](int k, int i) {
    const Pack<D, V> d = dy_row.pack(k, i);
    const Pack<X, V> pack = x_row.pack(k, i);
    float out[V];
#pragma unroll
    for (int j = 0; j < V; ++j) out[j] = rstd * (d[j] - a - (pack[j] - mean) * b);
    device::store<V>(dx + r * columns, i, out);
  });
}

// Calls f(V, kPacks), integral constants, for rows of `columns` elements. A stream in bf16 beside matrix products in
// fp32 is legal but nobody's choice: it has the plain kernel only.
template <typename Stream, typename Compute, typename F>
void visit_width(int columns, std::initializer_list<const void*> tensors, F&& f) {
  const auto any_width = std::integral_constant<int, 0>{};
  if constexpr (sizeof(Stream) < sizeof(Compute)) {
    f(std::integral_constant<int, 1>{}, any_width);
  } else {
    device::visit_pack<Stream, Compute>({columns}, tensors, [&](auto v) {
      const int64_t packs = device::blocks_for(columns / v, kWarp);  // of a lane
      if constexpr (v == 1)
        f(v, any_width);
      else if (packs <= 5)
        f(v, std::integral_constant<int, 5>{});
      else if (packs <= 9)
        f(v, std::integral_constant<int, 9>{});
      else
        f(v, any_width);
    });
  }
}

}  // namespace

void layer_norm_cuda(const KernelArgs& k, void* stream) {
  const int columns = static_cast<int>(k.in[0].shape()[-1]);
  const int64_t rows = k.in[0].numel() / columns;
  device::visit(k.in[0].dtype(), k.out[0].dtype(), [&]<typename X, typename Y>(X, Y) {
    visit_width<X, Y>(columns, {k.in[0].data, k.out[0].data}, [&](auto v, auto packs) {
      launch(layer_norm_kernel<v, packs, X, Y>, device::blocks_for(rows, kRows), kRows * kWarp, 0, stream,
             k.in[0].as<X>(), k.out[0].as<Y>(), k.out[1].as<float>(), k.out[2].as<float>(), rows, columns,
             k.attr<NormAttrs>().epsilon);
    });
  });
}

void layer_norm_grad_cuda(const KernelArgs& k, void* stream) {
  const int columns = static_cast<int>(k.in[1].shape()[-1]);
  const int64_t rows = k.in[1].numel() / columns;
  CHECK(k.in[1].dtype() == k.out[0].dtype()) << "layer_norm_grad: the gradient has the type of the residual stream";
  device::visit(k.in[0].dtype(), k.in[1].dtype(), [&]<typename D, typename X>(D, X) {
    visit_width<X, D>(columns, {k.in[0].data, k.in[1].data, k.out[0].data}, [&](auto v, auto packs) {
      launch(layer_norm_grad_kernel<v, packs, D, X>, device::blocks_for(rows, kRows), kRows * kWarp, 0, stream,
             k.in[0].as<D>(), k.in[1].as<X>(), k.in[2].as<float>(), k.in[3].as<float>(), k.out[0].as<X>(), rows,
             columns);
    });
  });
}

}  // namespace shardit

// Layer norm and its gradient (formulas in layer_norm.cc), alone and with the residual sums beside them. Bound by
// bytes: a warp keeps its row in registers, so that every element is read once and written once; a row that is too wide
// for that is read again, from the caches.
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

  __device__ __forceinline__ explicit Row(const T*) {}  // to be filled
  __device__ __forceinline__ Row(const T* row, int packs) {
    for_packs<kPacks>(packs, [&](int k, int i) { held[k] = device::load<V>(row, i); });
  }
  __device__ __forceinline__ void keep(int k, const Pack<T, V>& pack) { held[k] = pack; }
  __device__ __forceinline__ Pack<T, V> pack(int k, int) const { return held[k]; }
};

// The same where nothing is kept.
template <typename T, int V> struct Row<T, V, 0> {
  const T* row;

  __device__ __forceinline__ explicit Row(const T* row, int = 0) : row(row) {}
  __device__ __forceinline__ void keep(int, const Pack<T, V>&) {}
  __device__ __forceinline__ Pack<T, V> pack(int, int i) const { return device::load<V>(row, i); }
};

// The rows that are normalised: those of x, …
template <typename T> struct Rows {
  using X = T;
  const X* x;

  template <int V, int kPacks> __device__ __forceinline__ Row<X, V, kPacks> at(int64_t r, int columns) const {
    return Row<X, V, kPacks>(x + r * columns, columns / V);
  }
};

// … or their sums with those of `added`, which begins again after `added_rows`. The sums are written, perhaps over x:
// all of a row is read before.
template <typename T, typename A> struct SummedRows {
  using X = T;
  const X* x;
  const A* added;
  X* sum;
  uint32_t added_rows;

  template <int V, int kPacks> __device__ __forceinline__ Row<X, V, kPacks> at(int64_t r, int columns) const {
    const int packs = columns / V;
    const Row<X, V, kPacks> x_row(x + r * columns, packs);
    const Row<A, V, kPacks> added_row(added + static_cast<uint32_t>(r) % added_rows * int64_t{columns}, packs);
    X* to = sum + r * columns;
    Row<X, V, kPacks> row(to);
    for_packs<kPacks>(packs, [&](int k, int i) {
      const Pack<X, V> a = x_row.pack(k, i);
      const Pack<A, V> b = added_row.pack(k, i);
      float out[V];
#pragma unroll
      for (int j = 0; j < V; ++j) out[j] = a[j] + b[j];
      row.keep(k, Pack<X, V>::of(out));
      device::store<V>(to, i, out);
    });
    return row;
  }
};

template <int V, int kPacks, typename In, typename Y>
__global__ void __launch_bounds__(kRows* kWarp)
    layer_norm_kernel(In in, Y* y, float* means, float* rstds, int64_t rows, int columns, float epsilon) {
  using X = typename In::X;
  const int64_t r = int64_t{blockIdx.x} * kRows + threadIdx.x / kWarp;
  if (r >= rows) return;
  const int packs = columns / V;
  const Row<X, V, kPacks> row = in.template at<V, kPacks>(r, columns);

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

// What is added to a row's gradient: the row of g, or nothing.
template <typename G, int V, int kPacks> struct Addend {
  Row<G, V, kPacks> row;

  __device__ __forceinline__ Addend(const G* g, int64_t r, int columns) : row(g + r * columns, columns / V) {}
  template <typename X> __device__ __forceinline__ void add_to(float (&dx)[V], int k, int i) const {
    const Pack<X, V> rounded = Pack<X, V>::of(dx);
    const Pack<G, V> g = row.pack(k, i);
#pragma unroll
    for (int j = 0; j < V; ++j) dx[j] = rounded[j] + g[j];
  }
};
template <int V, int kPacks> struct Addend<void, V, kPacks> {
  __device__ __forceinline__ Addend(const void*, int64_t, int) {}
  template <typename X> __device__ __forceinline__ void add_to(float (&)[V], int, int) const {}
};

// G and C may be void: nothing is added, there is no copy in another type.
template <int V, int kPacks, typename D, typename X, typename G, typename C>
__global__ void __launch_bounds__(kRows* kWarp)
    layer_norm_grad_kernel(const D* dy, const X* x, const float* means, const float* rstds, const G* g, X* dx, C* copy,
                           int64_t rows, int columns) {
  const int64_t r = int64_t{blockIdx.x} * kRows + threadIdx.x / kWarp;
  if (r >= rows) return;
  const int packs = columns / V;
  const Row<D, V, kPacks> dy_row(dy + r * columns, packs);
  const Row<X, V, kPacks> x_row(x + r * columns, packs);
  const Addend<G, V, kPacks> addend(g, r, columns);
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
    addend.template add_to<X>(out, k, i);
    device::store<V>(dx + r * columns, i, out);
    if constexpr (!std::is_void_v<C>) {
      const Pack<X, V> rounded = Pack<X, V>::of(out);
#pragma unroll
      for (int j = 0; j < V; ++j) out[j] = rounded[j];
      device::store<V>(copy + r * columns, i, out);
    }
  });
}

// Calls f(V, kPacks), integral constants, for rows of `columns` elements. A stream in bf16 beside operands in fp32 is
// legal but nobody's choice: it has the plain kernel only.
template <typename Stream, typename... Others, typename F>
void visit_width(int columns, std::initializer_list<const void*> tensors, F&& f) {
  const auto any_width = std::integral_constant<int, 0>{};
  if constexpr (((sizeof(Stream) < sizeof(Others)) || ...)) {
    f(std::integral_constant<int, 1>{}, any_width);
  } else {
    device::visit_pack<Stream, Others...>({columns}, tensors, [&](auto v) {
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

// Normalises `in`; out[first …] = (y, mean, rstd)
template <int V, int kPacks, typename Y, typename In>
void normalize(const KernelArgs& k, void* stream, const In& in, int first) {
  const int64_t columns = k.in[0].shape()[-1], rows = k.in[0].numel() / columns;
  launch(layer_norm_kernel<V, kPacks, In, Y>, device::blocks_for(rows, kRows), kRows * kWarp, 0, stream, in,
         k.out[first].as<Y>(), k.out[first + 1].as<float>(), k.out[first + 2].as<float>(), rows,
         static_cast<int>(columns), k.attr<NormAttrs>().epsilon);
}

// out[0] = dx, in the type of the stream; G: void, or the stream's type, of in[4]; C: void, or the type of out[1].
template <bool kAdds, typename C> void differentiate(const KernelArgs& k, void* stream) {
  const int columns = static_cast<int>(k.in[1].shape()[-1]);
  const int64_t rows = k.in[1].numel() / columns;
  const void* g = kAdds ? k.in[4].data : nullptr;
  void* copy = std::is_void_v<C> ? nullptr : k.out[1].data;
  CHECK(k.in[1].dtype() == k.out[0].dtype()) << "layer_norm_grad: the gradient has the type of the residual stream";
  if constexpr (kAdds) CHECK(k.in[4].dtype() == k.out[0].dtype()) << "layer_norm_grad: so has what is added to it";
  device::visit(k.in[0].dtype(), k.in[1].dtype(), [&]<typename D, typename X>(D, X) {
    using G = std::conditional_t<kAdds, X, void>;
    using Copy = std::conditional_t<std::is_void_v<C>, X, C>;
    visit_width<X, D, Copy>(columns, {k.in[0].data, k.in[1].data, k.out[0].data, g, copy}, [&](auto v, auto packs) {
      launch(layer_norm_grad_kernel<v, packs, D, X, G, C>, device::blocks_for(rows, kRows), kRows * kWarp, 0, stream,
             k.in[0].as<D>(), k.in[1].as<X>(), k.in[2].as<float>(), k.in[3].as<float>(), static_cast<const G*>(g),
             k.out[0].as<X>(), static_cast<C*>(copy), rows, columns);
    });
  });
}

}  // namespace

void layer_norm_cuda(const KernelArgs& k, void* stream) {
  device::visit(k.in[0].dtype(), k.out[0].dtype(), [&]<typename X, typename Y>(X, Y) {
    visit_width<X, Y>(static_cast<int>(k.in[0].shape()[-1]), {k.in[0].data, k.out[0].data},
                      [&](auto v, auto packs) { normalize<v, packs, Y>(k, stream, Rows<X>{k.in[0].as<X>()}, 0); });
  });
}

void add_layer_norm_cuda(const KernelArgs& k, void* stream) {
  const int columns = static_cast<int>(k.in[0].shape()[-1]);
  const auto added_rows = static_cast<uint32_t>(k.in[1].numel() / columns);
  CHECK(k.in[0].dtype() == k.out[0].dtype()) << "add_layer_norm: the sum has the type of the residual stream";
  device::visit(k.in[0].dtype(), k.in[1].dtype(), k.out[1].dtype(), [&]<typename X, typename A, typename Y>(X, A, Y) {
    visit_width<X, A, Y>(columns, {k.in[0].data, k.in[1].data, k.out[0].data, k.out[1].data}, [&](auto v, auto packs) {
      normalize<v, packs, Y>(k, stream,
                             SummedRows<X, A>{k.in[0].as<X>(), k.in[1].as<A>(), k.out[0].as<X>(), added_rows}, 1);
    });
  });
}

void layer_norm_grad_cuda(const KernelArgs& k, void* stream) { differentiate<false, void>(k, stream); }
void layer_norm_grad_add_cuda(const KernelArgs& k, void* stream) { differentiate<true, void>(k, stream); }
void layer_norm_grad_add_cast_cuda(const KernelArgs& k, void* stream) {
  device::visit(k.out[1].dtype(), [&]<typename C>(C) { differentiate<true, C>(k, stream); });
}

}  // namespace shardit

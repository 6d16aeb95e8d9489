// Rows of a table by index, and the gradient (embedding.cc). Bound by bytes: every row of the gradient is written once,
// by threads that add the batch's rows with its index in their order, which gives the CPU's bits. An index outside the
// table stops the kernel.
#include "ops/device_map.h"

namespace shardit {
namespace {

constexpr int kThreads = 128;

__device__ int64_t checked(int64_t index, int64_t rows) {
  if (index < 0 || index >= rows) ptx::trap();
  return index;
}

// The rows of a table, as many as there are indices.
template <typename T> struct Gathered {
  const T* table;
  const int64_t* index;
  int64_t rows;
  uint32_t packs;  // of a row

  template <int V> __device__ __forceinline__ void load(uint32_t pack, float (&x)[V]) const {
    const uint32_t at = pack / packs;
    const device::Pack<T, V> loaded = device::load<V>(table, checked(index[at], rows) * packs + (pack - at * packs));
#pragma unroll
    for (int j = 0; j < V; ++j) x[j] = loaded[j];
  }
};

// One block has one row of the table.
template <int V, typename D>
__global__ void __launch_bounds__(kThreads) embedding_grad_kernel(const D* dy, const int64_t* index, float* dtable,
                                                                  int64_t rows, int64_t batch, int64_t packs) {
  const int64_t row = blockIdx.x;
  for (int64_t i = threadIdx.x; i < packs; i += kThreads) {
    float sum[V] = {};
    for (int64_t b = 0; b < batch; ++b) {
      if (checked(index[b], rows) != row) continue;
      const device::Pack<D, V> pack = device::load<V>(dy, b * packs + i);
#pragma unroll
      for (int j = 0; j < V; ++j) sum[j] += pack[j];
    }
    device::store<V>(dtable, row * packs + i, sum);
  }
}

}  // namespace

void embedding_cuda(const KernelArgs& k, void* stream) {
  const int64_t rows = k.in[0].shape()[0], columns = k.in[0].shape()[1], batch = k.in[1].numel();
  device::visit(k.in[0].dtype(), k.out[0].dtype(), [&]<typename X, typename Y>(X, Y) {
    device::visit_pack<X, Y>({columns}, {k.in[0].data, k.out[0].data}, [&](auto v) {
      device::map<v>(stream, device::Same{}, k.out[0].as<Y>(), batch * columns,
                     Gathered<X>{k.in[0].as<X>(), k.in[1].as<int64_t>(), rows, static_cast<uint32_t>(columns / v)});
    });
  });
}

void embedding_grad_cuda(const KernelArgs& k, void* stream) {
  const int64_t rows = k.out[0].shape()[0], columns = k.out[0].shape()[1], batch = k.in[1].numel();
  CHECK(k.out[0].dtype() == DType::kF32) << "embedding_grad sums in its output: no kernel for other types than fp32";
  device::visit(k.in[0].dtype(), [&]<typename D>(D) {
    device::visit_pack<D, float>({columns}, {k.in[0].data, k.out[0].data}, [&](auto v) {
      launch(embedding_grad_kernel<v, D>, static_cast<unsigned>(rows), kThreads, 0, stream, k.in[0].as<D>(),
             k.in[1].as<int64_t>(), k.out[0].as<float>(), rows, batch, columns / v);
    });
  });
}

}  // namespace shardit

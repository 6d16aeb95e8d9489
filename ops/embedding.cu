// Rows of a table by index, and the gradient (embedding.cc). Bound by bytes: every row of the gradient is written once,
// by threads that add the batch's rows with its index in their order, which gives the CPU's bits. An index outside the
// table stops the kernel.
#include "ops/device.h"

namespace shardit {
namespace {

constexpr int kThreads = 128;

__device__ int64_t checked(int64_t index, int64_t rows) {
  if (index < 0 || index >= rows) ptx::trap();
  return index;
}

template <int V, typename X, typename Y>
__global__ void __launch_bounds__(kThreads)
    embedding_kernel(const X* table, const int64_t* index, Y* y, int64_t rows, int64_t packs) {
  const int64_t row = checked(index[blockIdx.x], rows), to = int64_t{blockIdx.x} * packs;
  for (int64_t i = threadIdx.x; i < packs; i += kThreads) {
    const device::Pack<X, V> pack = device::load<V>(table, row * packs + i);
    float out[V];
#pragma unroll
    for (int j = 0; j < V; ++j) out[j] = pack[j];
    device::store<V>(y, to + i, out);
  }
}

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
      launch(embedding_kernel<v, X, Y>, static_cast<unsigned>(batch), kThreads, 0, stream, k.in[0].as<X>(),
             k.in[1].as<int64_t>(), k.out[0].as<Y>(), rows, columns / v);
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

// y = a + b, b perhaps broadcast over a's first axes, and the adjoint. Bound by bytes. Bit-equal to the CPU:
// sum_leading adds in the same order, rows of a block, then blocks.
#include "ops/device_map.h"
#include "ops/sum_leading.h"

namespace shardit {
namespace {

struct Sum {
  __device__ float operator()(float a, float b) const { return a + b; }
};

constexpr int kThreads = 64;

// sums[block][column] = the sum over the block's rows. A thread has one column pack.
template <int V, typename X, typename Y>
__global__ void __launch_bounds__(kThreads)
    sum_rows(const X* x, Y* sums, int64_t rows, int64_t rows_of_block, int64_t columns) {
  const int64_t pack = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (pack >= columns / V) return;
  const int64_t first = blockIdx.y * rows_of_block, end = first + rows_of_block < rows ? first + rows_of_block : rows;
  float sum[V] = {};
#pragma unroll 16
  for (int64_t r = first; r < end; ++r) {
    const device::Pack<X, V> row = device::load<V>(x + r * columns, pack);
#pragma unroll
    for (int j = 0; j < V; ++j) sum[j] += row[j];
  }
  device::store<V>(sums + int64_t{blockIdx.y} * columns, pack, sum);
}

// y[column] = the partial sums in their order. A block has 32 columns: all its threads fetch, a stage ahead, what one
// warp then adds. Bound by the latency of a stage.
constexpr int kColumns = device::kWarp, kFetchers = 8, kStage = 256, kFetches = kStage / kFetchers;

// Where there is no partial sum, -0: x + -0 is x for every x, and the first sum starts from it.
__device__ __forceinline__ void fetch(const float* partial, int64_t first, int64_t blocks, int64_t column,
                                      int64_t columns, float (&fetched)[kFetches]) {
#pragma unroll
  for (int k = 0; k < kFetches; ++k) {
    const int64_t b = first + k * kFetchers;
    fetched[k] = b < blocks && column < columns ? partial[b * columns + column] : -0.0f;
  }
}

template <typename Y>
__global__ void __launch_bounds__(kColumns* kFetchers)
    sum_blocks(const float* partial, Y* y, int64_t blocks, int64_t columns) {
  SHARDIT_SHARED(float, stage, [kStage][kColumns]);
  const int lane = static_cast<int>(threadIdx.x) % kColumns, fetcher = static_cast<int>(threadIdx.x) / kColumns;
  const int64_t column = int64_t{blockIdx.x} * kColumns + lane;
  float sum = -0.0f, fetched[kFetches];
  fetch(partial, fetcher, blocks, column, columns, fetched);
  for (int64_t first = 0; first < blocks; first += kStage) {
#pragma unroll
    for (int k = 0; k < kFetches; ++k) stage[k * kFetchers + fetcher][lane] = fetched[k];
    __syncthreads();
    fetch(partial, first + kStage + fetcher, blocks, column, columns, fetched);
    if (fetcher == 0) {
#pragma unroll 32
      for (int b = 0; b < kStage; ++b) sum += stage[b][lane];
    }
    __syncthreads();
  }
  if (fetcher == 0 && column < columns) y[column] = Y(sum);
}

}  // namespace

void add_cuda(const KernelArgs& k, void* stream) {
  const int64_t n = k.out[0].numel(), inner = k.in[1].numel();
  if (inner == n) return device::map_elements2(k, stream, Sum{});
  device::visit(k.in[0].dtype(), k.in[1].dtype(), k.out[0].dtype(), [&]<typename A, typename B, typename Y>(A, B, Y) {
    device::visit_pack<A, B, Y>({inner}, {k.in[0].data, k.in[1].data, k.out[0].data}, [&](auto v) {
      device::map<v>(stream, Sum{}, k.out[0].as<Y>(), n, device::Stream<A>{k.in[0].as<A>()},
                     device::Repeated<B>{k.in[1].as<B>(), static_cast<uint32_t>(inner / v)});
    });
  });
}

void sum_leading_cuda(const KernelArgs& k, void* stream) {
  const int64_t columns = k.out[0].numel(), rows = k.in[0].numel() / columns,
                of_block = sum_leading_order::rows_of_block(rows), blocks = device::blocks_for(rows, of_block);
  const auto sum_rows_to = [&]<typename X, typename Y>(auto v, const X* x, Y* sums) {
    launch(sum_rows<v, X, Y>,
           dim3(static_cast<unsigned>(device::blocks_for(columns / v, kThreads)), static_cast<unsigned>(blocks)),
           kThreads, 0, stream, x, sums, rows, of_block, columns);
  };
  device::visit(k.in[0].dtype(), k.out[0].dtype(), [&]<typename X, typename Y>(X, Y) {
    const X* x = k.in[0].as<X>();
    Y* y = k.out[0].as<Y>();
    if (blocks == 1) return device::visit_pack<X, Y>({columns}, {x, y}, [&](auto v) { sum_rows_to(v, x, y); });
    auto* partial = reinterpret_cast<float*>(k.workspace);
    device::visit_pack<X>({columns}, {x}, [&](auto v) { sum_rows_to(v, x, partial); });
    launch(sum_blocks<Y>, static_cast<unsigned>(device::blocks_for(columns, kColumns)), kColumns * kFetchers, 0, stream,
           partial, y, blocks, columns);
  });
}

void residual_stream_cuda(const KernelArgs& k, void* stream) {
  if (k.in[0].data != k.out[0].data) device::map_elements(k, stream, device::Same{});
}

}  // namespace shardit

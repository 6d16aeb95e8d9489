// The backward pass of attention on tensor cores; bounded by their rate.
//
// Two kernels, each computing p and dl anew: one by queries (dq, dbias: three products of N x N x D), one by keys (dk,
// dv: four). One kernel for all would need five, but sums of dq over blocks need atomics or fp32 partials, and dl would
// pass through shared memory, whose bandwidth is the next bound: 2.2 wavefronts of it per product instruction against
// 1.3 here (docs/attention.md).
//
// The kernel by queries leaves for the other one: q + q_t in bf16, and delta. Its blocks leave partial sums of dbias,
// dq_t and dv_t, which two small kernels add in the order of images and blocks.
#include "core/cuda.h"
#include "ops/attention_gradient.h"
#include "ops/attention_tensor.h"

namespace shardit::attention_device {
namespace {

using namespace attention_warp;

constexpr int kTile = 32;  // keys or queries that pass by at a time

template <int W> inline constexpr int kPartialRows = Workspace::bias_rows(W);

// ---- by queries ----------------------------------------------------------------------------------------------------

template <int D, int W> struct QueryMemory {
  alignas(128) BF16 query[kBlockRows * kStride<D>];  // in the end, dq
  BF16 dout[kBlockRows * kStride<D>];
  BF16 key[2][kTile * kStride<D>], value[2][kTile * kStride<D>];
  float table[(2 * W - 1) * (2 * W - 1)];
  WarpTable<W> dtable[kWarps];
  DiagonalMemory<W, kTile / 8> diagonals[kWarps];
  float dtime[kWarps][2][D];
};

static_assert(2 * (sizeof(QueryMemory<72, 32>) + kSharedReserved) <= kSharedOfSm, "two blocks share an SM");

// dl in place of the products s, from the products dp.
template <int kTiles>
__device__ void differentiate(Accumulators<kTiles>& s, const Accumulators<kTiles>& dp, float scale,
                              const float (&log_sum)[2][2], const float (&delta)[2][2]) {
  SHARDIT_UNROLL
  for (int m = 0; m < 2; ++m) SHARDIT_UNROLL
  for (int n = 0; n < kTiles; ++n) SHARDIT_UNROLL
  for (int i = 0; i < 4; ++i) {
    const float p = ptx::exp2_approximate(fmaf(s.c[m][n][i], scale, -log_sum[m][i / 2]));
    s.c[m][n][i] = p * (dp.c[m][n][i] - delta[m][i / 2]);
  }
}

// kHeldQuery, kHeldDout: their fragments stay in registers.
template <int D, int W, bool kHeldQuery, bool kHeldDout>
__global__ void __launch_bounds__(kThreads, 2) attention_query_gradient(TensorSizes z, Backward a, Workspace w) {
  constexpr int kTokens = W * W, kBlocks = kTokens / kBlockRows;
  SHARDIT_DYNAMIC_SHARED(unsigned char, bytes);
  auto& memory = *reinterpret_cast<QueryMemory<D, W>*>(bytes);
  const int thread = threadIdx.x, lane = thread % 32, warp = thread / 32;
  const int begin = blockIdx.x * kBlockRows, head = blockIdx.y, image = blockIdx.z;
  const int row = begin + kRows * warp;  // the warp's first
  const HeadRows<const BF16> in(z, static_cast<const BF16*>(a.qkv), image, head, kTokens, D);
  const BF16* time = static_cast<const BF16*>(a.qkv_time) + int64_t{image} * 3 * z.channels + head * D;
  const int64_t of_head = int64_t{image} * z.heads + head;
  const int64_t out_begin = int64_t{image} * kTokens * z.channels + head * D;

  const auto copy_tile = [&](int tile) {
    const int64_t first = int64_t{tile} * kTile * in.stride;
    copy_rows<D, kTile, kThreads>(memory.key[tile % 2], in.k + first, in.stride, thread);
    copy_rows<D, kTile, kThreads>(memory.value[tile % 2], in.v + first, in.stride, thread);
    ptx::end_copy_group();
  };
  const ColumnChunks<D> query_time(time, thread);
  const TableEntries<W, kThreads> table(static_cast<const BF16*>(a.bias), z.heads, head, thread);
  copy_rows<D, kBlockRows, kThreads>(memory.query, in.q + int64_t{begin} * in.stride, in.stride, thread);
  copy_rows<D, kBlockRows, kThreads>(
      memory.dout, static_cast<const BF16*>(a.dout) + out_begin + int64_t{begin} * z.channels, z.channels, thread);
  ptx::end_copy_group();
  copy_tile(0);
  const int64_t out_row = out_begin + int64_t{row} * z.channels;
  const Deltas<D, kRows> deltas(static_cast<const BF16*>(a.out) + out_row, z.channels, time + 2 * z.channels, lane);
  const float log_sum_of_lane = a.lse[of_head * kTokens + row + lane] * kLog2E;
  table.store(memory.table, z.inverse_scale, thread);
  memory.dtable[warp].clear(lane);
  memory.diagonals[warp].clear(lane);
  ptx::wait_for_copies<1>();
  add_to_rows<D, kBlockRows, kThreads>(memory.query, query_time, thread);
  __syncthreads();

  BF16 *const queries = memory.query + kRows * warp * kStride<D>, *const dout = memory.dout + kRows * warp * kStride<D>;
  store_rows<D, kRows, 32>(w.query + out_row, z.channels, queries, lane);
  const float delta_of_lane = deltas.of_lane(dout, lane);
  float* const statistics = w.statistics + 2 * (of_head * kTokens + row + lane);
  statistics[0] = log_sum_of_lane;
  statistics[1] = delta_of_lane;
  float log_sum[2][2], delta[2][2];
  SHARDIT_UNROLL
  for (int i = 0; i < 4; ++i) {
    log_sum[i / 2][i % 2] = __shfl_sync(0xffffffffu, log_sum_of_lane, 8 * i + lane / 4);
    delta[i / 2][i % 2] = __shfl_sync(0xffffffffu, delta_of_lane, 8 * i + lane / 4);
  }
  sum_columns<D, 2>(dout, memory.dtime[warp][1], lane);

  const LeftOperand<D, kHeldQuery> query_rows(queries, lane);
  const LeftOperand<D, kHeldDout> dout_rows(dout, lane);
  Accumulators<D / 8> dq;
  dq.clear();
  SHARDIT_KEEP_LOOP
  for (int tile = 0; tile < kTokens / kTile; ++tile) {
    ptx::wait_for_copies<0>();
    __syncthreads();  // the tile has arrived, and all have read the one before
    if (tile + 1 < kTokens / kTile) copy_tile(tile + 1);
    Relative<W, kTile / 8> relative;
    Accumulators<kTile / 8> s, dp;
    relative.template load<1>(memory.table, table_entry<W>(row, tile * kTile), lane);
    relative.spread(s);
    multiply_rows<D>(s, query_rows, memory.key[tile % 2], lane);
    dp.clear();
    multiply_rows<D>(dp, dout_rows, memory.value[tile % 2], lane);
    differentiate(s, dp, z.scale * kLog2E, log_sum, delta);
    multiply_columns<D>(dq, s, memory.key[tile % 2], lane);
    relative.gather(s);
    memory.diagonals[warp].add_to(memory.dtable[warp], tile * kRowsOfWarp<W>, relative, lane);
  }

  sum_columns<D>(dq, memory.dtime[warp][0], lane);
  const float factor[2][2] = {{z.scale, z.scale}, {z.scale, z.scale}};
  round_rows<D>(queries, dq, factor, nullptr, lane);
  __syncthreads();
  const HeadRows<BF16> din(z, static_cast<BF16*>(a.dqkv), image, head, kTokens, D);
  store_rows<D, kRows, 32>(din.q + int64_t{row} * din.stride, din.stride, queries, lane);
  const int64_t block = of_head * kBlocks + blockIdx.x;
  store_partial_bias<W, kThreads>(memory.dtable, w.bias + block * kPartialRows<W> * (2 * W - 1), thread);
  for (int i = thread; i < 2 * D; i += kThreads) {
    float sum = memory.dtime[0][i / D][i % D];
    for (int other = 1; other < kWarps; ++other) sum += memory.dtime[other][i / D][i % D];
    w.time[block * 2 * D + i] = sum;
  }
}

// ---- by keys -------------------------------------------------------------------------------------------------------

template <int D, int W> struct KeyMemory {
  alignas(128) BF16 key[kBlockRows * kStride<D>];  // in the end, dk
  BF16 value[kBlockRows * kStride<D>];             // in the end, dv
  BF16 query[2][kTile * kStride<D>], dout[2][kTile * kStride<D>];
  alignas(16) float statistics[2][2 * kTile];  // of each query: lse log2(e), delta
  float table[(2 * W - 1) * (2 * W - 1)];
};

// p of the transposed products: the queries' numbers stand by column.
template <int kTiles>
__device__ void exponentiate_columns(Accumulators<kTiles>& s, float scale, const float* statistics, int lane) {
  SHARDIT_UNROLL
  for (int n = 0; n < kTiles; ++n) SHARDIT_UNROLL
  for (int i = 0; i < 2; ++i) {
    const float shift = -statistics[2 * (8 * n + lane % 4 * 2 + i)];
    SHARDIT_UNROLL
    for (int j = 0; j < 4; ++j) {
      float& x = s.c[j / 2][n][j % 2 * 2 + i];
      x = ptx::exp2_approximate(fmaf(x, scale, shift));
    }
  }
}

// dl in place of p.
template <int kTiles>
__device__ void differentiate_columns(Accumulators<kTiles>& p, const Accumulators<kTiles>& dp, const float* statistics,
                                      int lane) {
  SHARDIT_UNROLL
  for (int n = 0; n < kTiles; ++n) SHARDIT_UNROLL
  for (int i = 0; i < 2; ++i) {
    const float shift = statistics[2 * (8 * n + lane % 4 * 2 + i) + 1];
    SHARDIT_UNROLL
    for (int j = 0; j < 4; ++j) {
      const int m = j / 2, at = j % 2 * 2 + i;
      p.c[m][n][at] *= dp.c[m][n][at] - shift;
    }
  }
}

template <int D, int W>
__global__ void __launch_bounds__(kThreads, 2) attention_key_gradient(TensorSizes z, Backward a, Workspace w) {
  constexpr int kTokens = W * W;
  SHARDIT_DYNAMIC_SHARED(unsigned char, bytes);
  auto& memory = *reinterpret_cast<KeyMemory<D, W>*>(bytes);
  const int thread = threadIdx.x, lane = thread % 32, warp = thread / 32;
  const int begin = blockIdx.x * kBlockRows, head = blockIdx.y, image = blockIdx.z;
  const int row = begin + kRows * warp;  // the warp's first key
  const HeadRows<const BF16> in(z, static_cast<const BF16*>(a.qkv), image, head, kTokens, D);
  const float* const statistics = w.statistics + (int64_t{image} * z.heads + head) * kTokens * 2;
  const int64_t out_begin = int64_t{image} * kTokens * z.channels + head * D;

  const auto copy_tile = [&](int tile) {
    const int64_t first = out_begin + int64_t{tile} * kTile * z.channels;
    copy_rows<D, kTile, kThreads>(memory.query[tile % 2], w.query + first, z.channels, thread);
    copy_rows<D, kTile, kThreads>(memory.dout[tile % 2], static_cast<const BF16*>(a.dout) + first, z.channels, thread);
    if (thread < kTile / 2)
      ptx::copy_async(memory.statistics[tile % 2] + 4 * thread, statistics + 2 * tile * kTile + 4 * thread);
    ptx::end_copy_group();
  };
  const TableEntries<W, kThreads> table(static_cast<const BF16*>(a.bias), z.heads, head, thread);
  copy_rows<D, kBlockRows, kThreads>(memory.key, in.k + int64_t{begin} * in.stride, in.stride, thread);
  copy_rows<D, kBlockRows, kThreads>(memory.value, in.v + int64_t{begin} * in.stride, in.stride, thread);
  copy_tile(0);
  table.store(memory.table, z.inverse_scale, thread);

  BF16 *const keys = memory.key + kRows * warp * kStride<D>, *const values = memory.value + kRows * warp * kStride<D>;
  const LeftOperand<D, false> key_rows(keys, lane), value_rows(values, lane);
  Accumulators<D / 8> dk, dv;
  dk.clear();
  dv.clear();
  SHARDIT_KEEP_LOOP
  for (int tile = 0; tile < kTokens / kTile; ++tile) {
    ptx::wait_for_copies<0>();
    __syncthreads();  // the tile has arrived, and all have read the one before
    if (tile + 1 < kTokens / kTile) copy_tile(tile + 1);
    Accumulators<kTile / 8> s, dp;
    {
      Relative<W, kTile / 8> bias;
      bias.template load<-1>(memory.table, table_entry<W>(tile * kTile, row), lane);
      bias.spread(s);
    }
    multiply_rows<D>(s, key_rows, memory.query[tile % 2], lane);
    exponentiate_columns(s, z.scale * kLog2E, memory.statistics[tile % 2], lane);
    multiply_columns<D>(dv, s, memory.dout[tile % 2], lane);
    dp.clear();
    multiply_rows<D>(dp, value_rows, memory.dout[tile % 2], lane);
    differentiate_columns(s, dp, memory.statistics[tile % 2], lane);
    multiply_columns<D>(dk, s, memory.query[tile % 2], lane);
  }

  const HeadRows<BF16> din(z, static_cast<BF16*>(a.dqkv), image, head, kTokens, D);
  const float one[2][2] = {{1, 1}, {1, 1}}, factor[2][2] = {{z.scale, z.scale}, {z.scale, z.scale}};
  round_rows<D>(keys, dk, factor, nullptr, lane);
  round_rows<D>(values, dv, one, nullptr, lane);
  __syncwarp();
  store_rows<D, kRows, 32>(din.k + int64_t{row} * din.stride, din.stride, keys, lane);
  store_rows<D, kRows, 32>(din.v + int64_t{row} * din.stride, din.stride, values, lane);
}

// ---- sums of partial sums ------------------------------------------------------------------------------------------

// One entry of the table per thread, over images, then blocks of rows. blockIdx.y: the head. The tables of kernels by
// queries stand last entry first.
template <int W, bool kByQueries> __global__ void sum_partial_bias(TensorSizes z, const float* partial, float* dbias) {
  constexpr int kWidth = 2 * W - 1, kTable = kWidth * kWidth, kBlocks = W * W / kBlockRows;
  const int r = blockIdx.x * blockDim.x + threadIdx.x, head = blockIdx.y;
  if (r >= kTable) return;
  float sum = 0;
  for (int image = 0; image < z.images; ++image)
    for (int block = 0; block < kBlocks; ++block) {
      const int row = r / kWidth - W + (block + 1) * kWarps * kRowsOfWarp<W>;
      if (row < 0 || row >= kPartialRows<W>) continue;
      const int64_t first = ((int64_t{image} * z.heads + head) * kBlocks + block) * kPartialRows<W>;
      sum += partial[(first + row) * kWidth + r % kWidth];
    }
  dbias[int64_t{kByQueries ? kTable - 1 - r : r} * z.heads + head] = sum;
}

// dqkv_time of one head (blockIdx.x) of one image (blockIdx.y), one channel per thread, over blocks.
template <int D, int W> __global__ void sum_partial_time(TensorSizes z, const float* partial, BF16* dqkv_time) {
  constexpr int kBlocks = W * W / kBlockRows;
  const int c = threadIdx.x, head = blockIdx.x, image = blockIdx.y;
  const float* from = partial + (int64_t{image} * z.heads + head) * kBlocks * 2 * D;
  float query = 0, value = 0;
  for (int block = 0; block < kBlocks; ++block) {
    query += from[2 * block * D + c];
    value += from[(2 * block + 1) * D + c];
  }
  BF16* to = dqkv_time + int64_t{image} * 3 * z.channels + head * D + c;
  to[0] = BF16(query * z.scale);
  to[z.channels] = BF16(0.0f);  // k_t has no effect
  to[2 * z.channels] = BF16(value);
}

}  // namespace

// The three parts in their order.
template <int D, int W, bool kHeldQuery, bool kHeldDout>
void query_gradient_as(const Sizes& z, const Backward& a, void* stream) {
  launch(attention_query_gradient<D, W, kHeldQuery, kHeldDout>, dim3(W * W / kBlockRows, z.heads, z.images),
         dim3(kThreads), sizeof(QueryMemory<D, W>), stream, tensor_sizes(z), a, Workspace(z, a.workspace));
}

template <int D, int W> void key_gradient_as(const Sizes& z, const Backward& a, void* stream) {
  launch(attention_key_gradient<D, W>, dim3(W * W / kBlockRows, z.heads, z.images), dim3(kThreads),
         sizeof(KeyMemory<D, W>), stream, tensor_sizes(z), a, Workspace(z, a.workspace));
}

template <bool kByQueries> void sum_bias(const Sizes& z, const Backward& a, void* stream) {
  constexpr int kSumThreads = 128;
  const dim3 grid((z.table() + kSumThreads - 1) / kSumThreads, z.heads);
  const auto kernel = z.window == 16 ? sum_partial_bias<16, kByQueries> : sum_partial_bias<32, kByQueries>;
  launch(kernel, grid, dim3(kSumThreads), 0, stream, tensor_sizes(z), Workspace(z, a.workspace).bias, a.dbias);
}

void sum_bias_by_keys(const Sizes& z, const Backward& a, void* stream) { sum_bias<false>(z, a, stream); }

void sum_partials(const Sizes& z, const Backward& a, void* stream) {
  sum_bias<true>(z, a, stream);
  visit_tensor_shapes(z, [&]<int D, int W>() {
    launch(sum_partial_time<D, W>, dim3(z.heads, z.images), dim3(D), 0, stream, tensor_sizes(z),
           Workspace(z, a.workspace).time, static_cast<BF16*>(a.dqkv_time));
  });
}

void warp_backward(const Sizes& z, const Backward& a, void* stream) {
  visit_tensor_shapes(z, [&]<int D, int W>() {
    query_gradient_as<D, W, true, false>(z, a, stream);
    key_gradient_as<D, W>(z, a, stream);
  });
  sum_partials(z, a, stream);
}

}  // namespace shardit::attention_device

// The backward pass of attention on Hopper's tensor cores (wgmma), by queries: dq, partial sums of dbias, dq_t and
// dv_t, and for the kernel by keys q + q_t and delta. Bounded by three products of N x N x D, by exp2 and by shared
// memory.
//
// A block of two warpgroups computes 128 queries, whose rows of q and dout stay in shared memory. While the products of
// dq run, a warpgroup sums dl for dbias and begins the next tile's.
#include "core/cuda.h"
#include "ops/attention_gradient.h"
#include "ops/attention_tensor.h"
#include "ops/attention_warpgroup.h"

namespace shardit::attention_device {
namespace {

using namespace attention_warp;
using namespace attention_warpgroup;

constexpr int kGroups = 2, kGradientThreads = kGroups * kGroupThreads, kGradientWarps = 4 * kGroups;
constexpr int kKeys = 64, kStages = 4;  // two being read, since warpgroups may be a tile apart, and two under way
static_assert(kGroups * kGroupRows == kBlockRows);

// Where a warp sums dl along diagonals: for each image row of a tile's keys, 8 rows (of a unit of 8 queries) of units
// of 8 keys side by side, an empty one at either end. A warp's queries stand in one image row, so that each image row
// of keys has a difference of image rows of its own: a tile's sums are stored, none is added to.
template <int W> struct WarpDiagonals {
  using Sums = Relative<W, kKeys / 8, 1>;
  static constexpr int kRowCount = Sums::kRowCount, kUnits = Sums::kUnitCount, kColumns = 8 * (kUnits + 2);
  static constexpr int kWidth = W + kWarpRows - 1;  // differences of image columns, from 1 - kWarpRows on
  static constexpr int kCount = kRowCount * kWidth, kSteps = (kCount + 31) / 32;
  static_assert(kRowCount == kKeys / W && Sums::kUnitsBefore == 1);
  struct alignas(8) Pair {
    float first, second;
  };
  alignas(8) float numbers[kRowCount * 8 * kColumns];

  __device__ void clear(int lane) {
    SHARDIT_KEEP_LOOP
    for (int i = lane; i < kRowCount * 8 * kColumns; i += 32) numbers[i] = 0;
  }

  // to[y][d]: the sum of what stands d - (kWarpRows - 1) image columns apart.
  __device__ void sum(float* to, const Sums& sums, int lane) {
    float* const pairs = numbers + lane / 4 * kColumns + lane % 4 * 2;
    SHARDIT_UNROLL
    for (int y = 0; y < kRowCount; ++y) SHARDIT_UNROLL
    for (int u = 0; u < kUnits; ++u)
      *reinterpret_cast<Pair*>(pairs + 8 * (y * kColumns + u + 1)) = {sums.of[y][u][0], sums.of[y][u][1]};
    __syncwarp();
    SHARDIT_UNROLL
    for (int step = 0; step < kSteps; ++step) {
      const int i = lane + 32 * step;
      if (i >= kCount) break;
      const float* const diagonal = numbers + i / kWidth * 8 * kColumns + i % kWidth + 1;
      float sum = 0;
      SHARDIT_UNROLL
      for (int row = 0; row < 8; ++row) sum += diagonal[row * (kColumns + 1)];
      to[i] = sum;
    }
    __syncwarp();
  }
};

template <int D, int W> struct QueryGroupMemory {
  alignas(128) Tile<D, kKeys> key[kStages];
  Tile<D, kKeys> value[kStages];
  BF16 query[kGradientWarps][kWarpRows * kStride<D>];  // in the end, dq
  BF16 dout[kGradientWarps][kWarpRows * kStride<D>];
  float table[(2 * W - 1) * (2 * W - 1)];
  float dtable[kGradientWarps][W * WarpDiagonals<W>::kWidth];  // row: image row of the keys
  WarpDiagonals<W> diagonals[kGradientWarps];
  float dtime[kGradientWarps][2][D];
  Handover<kStages, kGradientWarps> tiles;
};

// dl of a tile, in place of the products s: p (dp - delta), where dp began at - delta.
template <int kTiles>
__device__ __forceinline__ void exponentiate(Accumulators<kTiles, 1>& s, float scale, const float (&log_sum)[2]) {
  SHARDIT_UNROLL
  for (int n = 0; n < kTiles; ++n) SHARDIT_UNROLL
  for (int i = 0; i < 4; ++i) s.c[0][n][i] = ptx::exp2_approximate(fmaf(s.c[0][n][i], scale, -log_sum[i / 2]));
}

// The block's sums of dbias, from its warps' tables.
template <int D, int W>
__device__ void store_partial_bias(const QueryGroupMemory<D, W>& memory, float* to, int thread) {
  constexpr int kTableWidth = 2 * W - 1, kWidth = WarpDiagonals<W>::kWidth;
  SHARDIT_KEEP_LOOP
  for (int i = thread; i < Workspace::bias_rows(W) * kTableWidth; i += kGradientThreads) {
    float sum = 0;
    for (int warp = 0; warp < kGradientWarps; ++warp) {
      const int first = warp * kWarpRows;  // the warp's first query, of the block's
      const int row = i / kTableWidth + first / W - (kBlockRows / W - 1);
      const int column = i % kTableWidth - (W - 1) + first % W + kWarpRows - 1;
      if (row >= 0 && row < W && column >= 0 && column < kWidth) sum += memory.dtable[warp][row * kWidth + column];
    }
    to[i] = sum;
  }
}

template <int D, int W>
__global__ void __launch_bounds__(kGradientThreads, 1)
    attention_warpgroup_query_gradient(TensorSizes z, Backward a, Workspace w) {
  constexpr int kTokens = W * W, kTiles = kTokens / kKeys, kBlocks = kTokens / kBlockRows;
  SHARDIT_DYNAMIC_SHARED(unsigned char, bytes);
  auto& memory = *reinterpret_cast<QueryGroupMemory<D, W>*>(bytes);
  const int thread = threadIdx.x, lane = thread % 32, warp = thread / 32;
  const int row = blockIdx.x * kBlockRows + warp * kWarpRows;  // the warp's first
  const int head = blockIdx.y, image = blockIdx.z;
  const HeadRows<const BF16> in(z, static_cast<const BF16*>(a.qkv), image, head, kTokens, D);
  const BF16* time = static_cast<const BF16*>(a.qkv_time) + int64_t{image} * 3 * z.channels + head * D;
  const int64_t of_head = int64_t{image} * z.heads + head;
  const int64_t out_row = (int64_t{image} * kTokens + row) * z.channels + head * D;

  const auto copy_tile = [&](int tile) {
    const int64_t first = int64_t{tile} * kKeys * in.stride;
    memory.key[tile % kStages].template copy<kGradientThreads>(in.k + first, in.stride, thread);
    memory.value[tile % kStages].template copy<kGradientThreads>(in.v + first, in.stride, thread);
    ptx::end_copy_group();
  };
  // The copy of the tile after this one is done, as far as this warp took part; the one after that begins. No copy is
  // under way between the two, for which the memory fence in copied() might wait.
  const auto hand_over = [&](int tile) {
    if (tile + 1 < kTiles) {
      ptx::wait_for_copies<0>();
      memory.tiles.copied(tile + 1, lane);
    }
    if (tile + 2 < kTiles) {
      memory.tiles.wait_for_place(tile + 2);
      copy_tile(tile + 2);
    }
  };
  BF16 *const queries = memory.query[warp], *const douts = memory.dout[warp];
  const ColumnChunks<D> query_time(time, lane);
  const TableEntries<W, kGradientThreads> table(static_cast<const BF16*>(a.bias), z.heads, head, thread);
  copy_rows<D, kWarpRows, 32>(queries, in.q + int64_t{row} * in.stride, in.stride, lane);
  copy_rows<D, kWarpRows, 32>(douts, static_cast<const BF16*>(a.dout) + out_row, z.channels, lane);
  ptx::end_copy_group();
  copy_tile(0);
  copy_tile(1);
  const Deltas<D, kWarpRows> deltas(static_cast<const BF16*>(a.out) + out_row, z.channels, time + 2 * z.channels, lane);
  const int64_t statistic = of_head * kTokens + row + lane % kWarpRows;
  const float log_sum_of_lane = a.lse[statistic] * kLog2E;
  for (auto& tile : memory.key) tile.template clear_rest<kGradientThreads>(thread);
  for (auto& tile : memory.value) tile.template clear_rest<kGradientThreads>(thread);
  memory.diagonals[warp].clear(lane);
  if (thread == 0) memory.tiles.begin();
  // All that the block reads first is on its way: the compiler moves no use of it to before the barrier.
  __syncthreads();

  table.store(memory.table, z.inverse_scale, thread);
  ptx::wait_for_copies<1>();
  memory.tiles.copied(0, lane);
  add_to_rows<D, kWarpRows, 32>(queries, query_time, lane);
  __syncthreads();
  store_rows<D, kWarpRows, 32>(w.query + out_row, z.channels, queries, lane);
  const float delta_of_lane = deltas.of_lane(douts, lane);
  if (lane < kWarpRows) {
    w.statistics[2 * statistic] = log_sum_of_lane;
    w.statistics[2 * statistic + 1] = delta_of_lane;
  }
  float log_sum[2], delta[2];
  SHARDIT_UNROLL
  for (int r = 0; r < 2; ++r) {
    log_sum[r] = __shfl_sync(0xffffffffu, log_sum_of_lane, 8 * r + lane / 4);
    delta[r] = __shfl_sync(0xffffffffu, delta_of_lane, 8 * r + lane / 4);
  }
  sum_columns<D, 1>(douts, memory.dtime[warp][1], lane);

  Accumulators<kKeys / 8, 1> s, dp;
  LeftRows<D> query, dout;
  Accumulators<D / 8, 1> dq;
  dq.clear();
  LeftColumns<kKeys / 8> dl;
  typename WarpDiagonals<W>::Sums sums;
  // What the products s and dp of a tile start from: the bias, - delta; and their left operands.
  const auto start_tile = [&](int tile) {
    Relative<W, kKeys / 8, 1> bias;
    bias.template load<1>(memory.table, table_entry<W>(row, tile * kKeys), lane);
    bias.spread(s);
    SHARDIT_UNROLL
    for (int n = 0; n < kKeys / 8; ++n) SHARDIT_UNROLL
    for (int i = 0; i < 4; ++i) dp.c[0][n][i] = -delta[i / 2];
    query.load(queries, lane);
    dout.load(douts, lane);
    memory.tiles.wait_for(tile);
  };
  const auto store_sums = [&](int tile) {
    memory.diagonals[warp].sum(memory.dtable[warp] + tile * WarpDiagonals<W>::kCount, sums, lane);
  };
  // From products of a tile, which has started, to its dl, and on to the start of the next one. The products of dq with
  // dl and its sums for dbias come a tile later, while this tile's products run and its p is made.
  const auto pass_tile = [&]<bool kFirst>(int tile) {
    ptx::begin_products(s.c[0], dp.c[0], dq.c[0]);
    multiply_rows(s, query, memory.key[tile % kStages]);
    ptx::end_product_group();
    multiply_rows(dp, dout, memory.value[tile % kStages]);
    ptx::end_product_group();
    if constexpr (!kFirst) multiply_columns(dq, dl, memory.key[(tile - 1) % kStages]);
    ptx::end_product_group();
    if constexpr (!kFirst) store_sums(tile - 1);
    hand_over(tile);

    ptx::wait_for_products<2>();
    exponentiate(s, z.scale * kLog2E, log_sum);
    ptx::wait_for_products<0>();
    if constexpr (!kFirst) memory.tiles.read(tile - 1, lane);
    SHARDIT_UNROLL
    for (int n = 0; n < kKeys / 8; ++n) SHARDIT_UNROLL
    for (int i = 0; i < 4; ++i) s.c[0][n][i] *= dp.c[0][n][i];
    dl.round(s);
    sums.gather(s);
    start_tile(tile + 1 < kTiles ? tile + 1 : tile);
  };
  start_tile(0);
  pass_tile.template operator()<true>(0);
  SHARDIT_KEEP_LOOP
  for (int tile = 1; tile < kTiles; ++tile) pass_tile.template operator()<false>(tile);
  ptx::begin_products(dq.c[0]);
  multiply_columns(dq, dl, memory.key[(kTiles - 1) % kStages]);
  ptx::end_product_group();
  store_sums(kTiles - 1);
  ptx::wait_for_products<0>();

  sum_columns<D>(dq, memory.dtime[warp][0], lane);
  const float factor[1][2] = {{z.scale, z.scale}};
  round_rows<D>(queries, dq, factor, nullptr, lane);
  __syncthreads();
  const HeadRows<BF16> din(z, static_cast<BF16*>(a.dqkv), image, head, kTokens, D);
  store_rows<D, kWarpRows, 32>(din.q + int64_t{row} * din.stride, din.stride, queries, lane);
  const int64_t block = of_head * kBlocks + blockIdx.x;
  store_partial_bias<D, W>(memory, w.bias + block * Workspace::bias_rows(W) * (2 * W - 1), thread);
  for (int i = thread; i < 2 * D; i += kGradientThreads) {
    float sum = 0;
    for (const auto& of_warp : memory.dtime) sum += of_warp[i / D][i % D];
    w.time[block * 2 * D + i] = sum;
  }
}

}  // namespace

void warpgroup_query_gradient(const Sizes& z, const Backward& a, void* stream) {
  visit_tensor_shapes(z, [&]<int D, int W>() {
    launch(attention_warpgroup_query_gradient<D, W>, dim3(W * W / kBlockRows, z.heads, z.images),
           dim3(kGradientThreads), sizeof(QueryGroupMemory<D, W>), stream, tensor_sizes(z), a,
           Workspace(z, a.workspace));
  });
}

}  // namespace shardit::attention_device

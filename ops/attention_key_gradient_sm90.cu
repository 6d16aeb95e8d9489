// The backward pass of attention on Hopper's tensor cores (wgmma), by keys: dk and dv. Bounded by four products of N x
// N x D.
//
// A block of two warpgroups computes 128 keys, whose rows of k and v stay in shared memory; queries, dout and their
// statistics pass by. The products of a tile run while the warpgroup turns the ones before them into p and dl: s and dp
// side by side, then those of dv while dl is made.
#include "core/cuda.h"
#include "ops/attention_tensor.h"
#include "ops/attention_warpgroup.h"

namespace shardit::attention_device {
namespace {

using namespace attention_warp;
using namespace attention_warpgroup;

constexpr int kGroups = 2, kGradientThreads = kGroups * kGroupThreads, kGradientWarps = 4 * kGroups;
constexpr int kQueries = 64, kStages = 4;  // two being read, since warpgroups may be a tile apart, and two under way
static_assert(kGroups * kGroupRows == kBlockRows);

// Of two neighbouring queries.
struct alignas(16) StatisticsPair {
  struct {
    float log_sum, delta;  // lse log2(e), delta
  } of[2];
};

template <int D, int W> struct KeyGroupMemory {
  alignas(128) Tile<D, kQueries> query[kStages];
  Tile<D, kQueries> dout[kStages];
  StatisticsPair statistics[kStages][kQueries / 2];
  BF16 key[kGradientWarps][kWarpRows * kStride<D>];    // in the end, dk
  BF16 value[kGradientWarps][kWarpRows * kStride<D>];  // in the end, dv
  float table[(2 * W - 1) * (2 * W - 1)];
  Handover<kStages, kGradientWarps> tiles;
};

template <int D, int W>
__global__ void __launch_bounds__(kGradientThreads, 1)
    attention_warpgroup_key_gradient(TensorSizes z, Backward a, Workspace w) {
  constexpr int kTokens = W * W, kTiles = kTokens / kQueries;
  SHARDIT_DYNAMIC_SHARED(unsigned char, bytes);
  auto& memory = *reinterpret_cast<KeyGroupMemory<D, W>*>(bytes);
  const int thread = threadIdx.x, lane = thread % 32, warp = thread / 32;
  const int row = blockIdx.x * kBlockRows + warp * kWarpRows;  // the warp's first key
  const int head = blockIdx.y, image = blockIdx.z;
  const HeadRows<const BF16> in(z, static_cast<const BF16*>(a.qkv), image, head, kTokens, D);
  const float* const statistics = w.statistics + (int64_t{image} * z.heads + head) * kTokens * 2;
  const int64_t out_begin = int64_t{image} * kTokens * z.channels + head * D;

  const auto copy_tile = [&](int tile) {
    const int stage = tile % kStages;
    const int64_t first = out_begin + int64_t{tile} * kQueries * z.channels;
    memory.query[stage].template copy<kGradientThreads>(w.query + first, z.channels, thread);
    memory.dout[stage].template copy<kGradientThreads>(static_cast<const BF16*>(a.dout) + first, z.channels, thread);
    if (thread < kQueries / 2)
      ptx::copy_async(memory.statistics[stage] + thread, statistics + 2 * tile * kQueries + 4 * thread);
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
  BF16 *const keys = memory.key[warp], *const values = memory.value[warp];
  const TableEntries<W, kGradientThreads> table(static_cast<const BF16*>(a.bias), z.heads, head, thread);
  copy_rows<D, kWarpRows, 32>(keys, in.k + int64_t{row} * in.stride, in.stride, lane);
  copy_rows<D, kWarpRows, 32>(values, in.v + int64_t{row} * in.stride, in.stride, lane);
  ptx::end_copy_group();
  copy_tile(0);
  copy_tile(1);
  for (auto& tile : memory.query) tile.template clear_rest<kGradientThreads>(thread);
  for (auto& tile : memory.dout) tile.template clear_rest<kGradientThreads>(thread);
  if (thread == 0) memory.tiles.begin();
  // All that the block reads first is on its way: the compiler moves no use of it to before the barrier.
  __syncthreads();

  table.store(memory.table, z.inverse_scale, thread);
  ptx::wait_for_copies<1>();
  memory.tiles.copied(0, lane);
  __syncthreads();

  Accumulators<D / 8, 1> dk, dv;
  dk.clear();
  dv.clear();
  Accumulators<kQueries / 8, 1> s, dp;
  LeftRows<D> key, value;
  LeftColumns<kQueries / 8> dl;
  // What the products s and dp of a tile start from: the bias, - delta; and their left operands.
  const auto start_tile = [&](int tile) {
    Relative<W, kQueries / 8, 1> bias;
    bias.template load<-1>(memory.table, table_entry<W>(tile * kQueries, row), lane);
    bias.spread(s);
    key.load(keys, lane);
    value.load(values, lane);
    memory.tiles.wait_for(tile);
    SHARDIT_UNROLL
    for (int n = 0; n < kQueries / 8; ++n) {
      const StatisticsPair pair = memory.statistics[tile % kStages][4 * n + lane % 4];
      SHARDIT_UNROLL
      for (int i = 0; i < 4; ++i) dp.c[0][n][i] = -pair.of[i % 2].delta;
    }
  };
  // From products of a tile, which has started, to its dl, and on to the start of the next one. The products of dk with
  // dl come a tile later, so that they run while this tile's p is made; so do those of dv while dl is.
  const auto pass_tile = [&]<bool kFirst>(int tile) {
    const int stage = tile % kStages;
    ptx::begin_products(s.c[0], dp.c[0], dk.c[0]);
    multiply_rows(s, key, memory.query[stage]);
    ptx::end_product_group();
    multiply_rows(dp, value, memory.dout[stage]);
    ptx::end_product_group();
    if constexpr (!kFirst) multiply_columns(dk, dl, memory.query[(tile - 1) % kStages]);
    ptx::end_product_group();
    hand_over(tile);

    ptx::wait_for_products<2>();
    const float scale = z.scale * kLog2E;
    SHARDIT_UNROLL
    for (int n = 0; n < kQueries / 8; ++n) {
      const StatisticsPair pair = memory.statistics[stage][4 * n + lane % 4];
      SHARDIT_UNROLL
      for (int i = 0; i < 4; ++i)
        s.c[0][n][i] = ptx::exp2_approximate(fmaf(s.c[0][n][i], scale, -pair.of[i % 2].log_sum));
    }
    LeftColumns<kQueries / 8> p;
    p.round(s);
    ptx::begin_products(dv.c[0]);
    multiply_columns(dv, p, memory.dout[stage]);
    ptx::end_product_group();
    ptx::wait_for_products<1>();
    if constexpr (!kFirst) memory.tiles.read(tile - 1, lane);
    SHARDIT_UNROLL
    for (int n = 0; n < kQueries / 8; ++n) SHARDIT_UNROLL
    for (int i = 0; i < 4; ++i) s.c[0][n][i] *= dp.c[0][n][i];
    dl.round(s);
    start_tile(tile + 1 < kTiles ? tile + 1 : tile);
    ptx::wait_for_products<0>();
  };
  start_tile(0);
  pass_tile.template operator()<true>(0);
  SHARDIT_KEEP_LOOP
  for (int tile = 1; tile < kTiles; ++tile) pass_tile.template operator()<false>(tile);
  ptx::begin_products(dk.c[0]);
  multiply_columns(dk, dl, memory.query[(kTiles - 1) % kStages]);
  ptx::end_product_group();
  ptx::wait_for_products<0>();

  const HeadRows<BF16> din(z, static_cast<BF16*>(a.dqkv), image, head, kTokens, D);
  const float one[1][2] = {{1, 1}}, factor[1][2] = {{z.scale, z.scale}};
  round_rows<D>(keys, dk, factor, nullptr, lane);
  round_rows<D>(values, dv, one, nullptr, lane);
  __syncwarp();
  store_rows<D, kWarpRows, 32>(din.k + int64_t{row} * din.stride, din.stride, keys, lane);
  store_rows<D, kWarpRows, 32>(din.v + int64_t{row} * din.stride, din.stride, values, lane);
}

}  // namespace

void warpgroup_key_gradient(const Sizes& z, const Backward& a, void* stream) {
  visit_tensor_shapes(z, [&]<int D, int W>() {
    launch(attention_warpgroup_key_gradient<D, W>, dim3(W * W / kBlockRows, z.heads, z.images), dim3(kGradientThreads),
           sizeof(KeyGroupMemory<D, W>), stream, tensor_sizes(z), a, Workspace(z, a.workspace));
  });
}

void warpgroup_backward(const Sizes& z, const Backward& a, void* stream) {
  warpgroup_query_gradient(z, a, stream);
  warpgroup_key_gradient(z, a, stream);
  sum_partials(z, a, stream);
}

}  // namespace shardit::attention_device

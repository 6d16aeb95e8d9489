// The forward pass of attention on Hopper's tensor cores (wgmma); bounded by their rate and that of exp2.
//
// A block of kGroups warpgroups computes 64 queries of one head by each, which stay in shared memory. Keys and
// values pass by in tiles of 64 through kStages places in shared memory. All warps copy; barriers in shared memory, not
// __syncthreads, hand the tiles over, so that a warpgroup may be half a tile ahead of another: one's softmax runs
// during another's products. Within a warpgroup the products p v of a tile run while the next tile's bias is read.
#include "core/cuda.h"
#include "ops/attention_softmax.h"
#include "ops/attention_tensor.h"
#include "ops/attention_warpgroup.h"

namespace shardit::attention_device {
namespace {

using namespace attention_warp;
using namespace attention_warpgroup;

// One block an SM. Two blocks of two would each copy all keys and values: 176 us to 135 at (8,16,1024,72) on an H200.
constexpr int kGroups = 4, kForwardWarps = 4 * kGroups, kForwardThreads = kGroups * kGroupThreads;
constexpr int kKeys = 64, kStages = 4;  // two being read, since warpgroups may be a tile apart, and two under way

template <int D, int W> struct WarpgroupForwardMemory {
  alignas(128) Tile<D, kKeys> key[kStages];
  Tile<D, kKeys, false> value[kStages];
  BF16 rows[kForwardWarps][kWarpRows * kStride<D>];  // queries, in the end the output
  alignas(16) BF16 value_time[D];
  float table[(2 * W - 1) * (2 * W - 1)];
  Handover<kStages, kForwardWarps> tiles;
};

template <int D, int W>
__global__ void __launch_bounds__(kForwardThreads, 1) attention_warpgroup_forward(TensorSizes z, Forward a) {
  constexpr int kTokens = W * W, kTiles = kTokens / kKeys;
  static_assert(sizeof(WarpgroupForwardMemory<D, W>) + kSharedReserved <= kSharedOfSm);
  SHARDIT_DYNAMIC_SHARED(unsigned char, bytes);
  auto& memory = *reinterpret_cast<WarpgroupForwardMemory<D, W>*>(bytes);
  const int thread = threadIdx.x, lane = thread % 32, warp = thread / 32;
  const int row = blockIdx.x * kGroups * kGroupRows + warp * kWarpRows;  // the warp's first
  const int head = blockIdx.y, image = blockIdx.z;
  const HeadRows<const BF16> in(z, static_cast<const BF16*>(a.qkv), image, head, kTokens, D);
  const BF16* time = static_cast<const BF16*>(a.qkv_time) + int64_t{image} * 3 * z.channels + head * D;

  const auto copy_tile = [&](int tile) {
    const int64_t first = int64_t{tile} * kKeys * in.stride;
    memory.key[tile % kStages].template copy<kForwardThreads>(in.k + first, in.stride, thread);
    memory.value[tile % kStages].template copy<kForwardThreads>(in.v + first, in.stride, thread);
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
  BF16* const rows = memory.rows[warp];
  const ColumnChunks<D> query_time(time, lane);
  const TableEntries<W, kForwardThreads> table(static_cast<const BF16*>(a.bias), z.heads, head, thread);
  copy_rows<D, kWarpRows, 32>(rows, in.q + int64_t{row} * in.stride, in.stride, lane);
  if (thread < D / 8) ptx::copy_async(memory.value_time + 8 * thread, time + 2 * z.channels + 8 * thread);
  ptx::end_copy_group();
  copy_tile(0);
  copy_tile(1);
  for (auto& tile : memory.key) tile.template clear_rest<kForwardThreads>(thread);
  if (thread == 0) memory.tiles.begin();
  // All that the block reads first is on its way: the compiler moves no use of it to before the barrier.
  __syncthreads();

  table.store(memory.table, z.inverse_scale, thread);
  ptx::wait_for_copies<1>();
  memory.tiles.copied(0, lane);
  add_to_rows<D, kWarpRows, 32>(rows, query_time, lane);
  __syncthreads();
  Accumulators<D / 8, 1> out;
  out.clear();
  RunningSoftmax<1> softmax;
  softmax.clear();
  const float scale = z.scale * kLog2E;
  SHARDIT_KEEP_LOOP
  for (int tile = 0; tile < kTiles; ++tile) {
    Relative<W, kKeys / 8, 1> bias;
    bias.template load<1>(memory.table, table_entry<W>(row, tile * kKeys), lane);
    Accumulators<kKeys / 8, 1> s;
    bias.spread(s);
    LeftRows<D> query;
    query.load(rows, lane);
    memory.tiles.wait_for(tile);
    ptx::begin_products(s.c[0]);
    multiply_rows(s, query, memory.key[tile % kStages]);
    ptx::end_product_group();
    hand_over(tile);
    ptx::wait_for_products<0>();
    exponentiate(s, softmax, out, scale);
    LeftColumns<kKeys / 8> p;
    p.round(s);
    ptx::begin_products(out.c[0]);
    multiply_columns(out, p, memory.value[tile % kStages]);
    ptx::end_product_group();
    ptx::wait_for_products<0>();
    memory.tiles.read(tile, lane);
  }

  float factor[1][2];
  finish(softmax, z.scale, a.lse + (int64_t{image} * z.heads + head) * kTokens + row, factor, lane);
  round_rows<D>(rows, out, factor, memory.value_time, lane);
  __syncwarp();
  BF16* to = static_cast<BF16*>(a.out) + (int64_t{image} * kTokens + row) * z.channels + head * D;
  store_rows<D, kWarpRows, 32>(to, z.channels, rows, lane);
}

}  // namespace

void warpgroup_forward(const Sizes& z, const Forward& a, void* stream) {
  visit_tensor_shapes(z, [&]<int D, int W>() {
    launch(attention_warpgroup_forward<D, W>, dim3(W * W / (kGroups * kGroupRows), z.heads, z.images),
           dim3(kForwardThreads), sizeof(WarpgroupForwardMemory<D, W>), stream, tensor_sizes(z), a);
  });
}

}  // namespace shardit::attention_device

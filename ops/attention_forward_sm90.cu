// The forward pass of attention on Hopper's tensor cores (wgmma); bounded by their rate and that of exp2.
//
// An item is kGroups x 64 queries of one head of one image: 64 for each of kGroups warpgroups, whose softmax runs
// during another's products. One more warpgroup copies: queries of the next item, and keys and values, which pass by in
// tiles of
// 64. There are as many blocks as multiprocessors, each with a run of items, so that only the first waits for memory.
#include "core/cuda.h"
#include "ops/attention_softmax.h"
#include "ops/attention_tensor.h"
#include "ops/attention_warpgroup.h"

namespace shardit::attention_device {
namespace {

using namespace attention_warp;
using namespace attention_warpgroup;

constexpr int kGroups = 4, kGroupWarps = 4, kReaders = kGroups * kGroupWarps;
constexpr int kForwardThreads = (1 + kGroups) * kGroupThreads, kReaderThreads = kGroups * kGroupThreads;
constexpr int kQueries = kGroups * kGroupRows, kKeys = 64, kStages = 4;
// Registers of a thread by role; together at most those of five times 96.
constexpr int kCopyRegisters = 32, kReaderRegisters = 112;

template <int D> struct Queries {
  Tile<D, kQueries> rows;
  alignas(16) BF16 value_time[D];
};

template <int D, int W> struct WarpgroupForwardMemory {
  alignas(128) Queries<D> queries[2];
  Tile<D, kKeys> key[kStages];
  Tile<D, kKeys, D / 8> value[kStages];
  float table[2][(2 * W - 1) * (2 * W - 1)];
  Handover<2, kGroupWarps, kReaders> items;
  Handover<kStages, kGroupWarps, kReaders> tiles;
  Handover<2, kReaders, kReaders> tables;
};

// A block's items, and the thread in its warpgroup. Items of a head follow one another, and of an image among them.
template <int D, int W> struct Run {
  static constexpr int kTokens = W * W, kTiles = kTokens / kKeys, kItems = kTokens / kQueries;  // of a head
  WarpgroupForwardMemory<D, W>& memory;
  const TensorSizes& z;
  const Forward& a;
  int begin, end, thread, lane, warp;

  __device__ int head(int item) const { return item / (z.images * kItems); }
  __device__ int image(int item) const { return item / kItems % z.images; }
  __device__ int first_query(int item) const { return item % kItems * kQueries; }
  __device__ const BF16* time(int item) const {
    return static_cast<const BF16*>(a.qkv_time) + int64_t{image(item)} * 3 * z.channels + head(item) * D;
  }
};

// One copy is under way while the next begins. An item's queries come with a late tile of the item before.
template <int D, int W> __device__ __forceinline__ void copy_items(const Run<D, W>& run) {
  auto& memory = run.memory;
  const int thread = run.thread, lane = run.lane;
  const auto in = [&](int item) -> HeadRows<const BF16> {
    return {run.z, static_cast<const BF16*>(run.a.qkv), run.image(item), run.head(item), run.kTokens, D};
  };
  const auto copy_queries = [&](int item) {
    const HeadRows<const BF16> from = in(item);
    auto& queries = memory.queries[(item - run.begin) % 2];
    memory.items.wait_for_place(item - run.begin);
    queries.rows.template copy<kGroupThreads>(from.q + int64_t{run.first_query(item)} * from.stride, from.stride,
                                              thread);
    if (thread < D / 8)
      ptx::copy_async(queries.value_time + 8 * thread, run.time(item) + 2 * run.z.channels + 8 * thread);
  };
  const auto hand_over_queries = [&](int item) {
    auto& queries = memory.queries[(item - run.begin) % 2];
    queries.rows.template add<kGroupThreads>(ColumnChunks<D>(run.time(item), thread), thread);
    memory.items.written(item - run.begin, lane);
  };
  constexpr int kLate = Run<D, W>::kTiles - 2;
  const auto brings_queries = [&](int item, int tile) { return tile == kLate && item + 1 < run.end; };

  copy_queries(run.begin);
  ptx::end_copy_group();
  int filling = 0;
  SHARDIT_KEEP_LOOP
  for (int item = run.begin; item < run.end; ++item) SHARDIT_KEEP_LOOP
  for (int tile = 0; tile < run.kTiles; ++tile, ++filling) {
    int here = item;  // addresses are made anew for each tile: this role has few registers
    ptx::keep_here(here);
    const HeadRows<const BF16> from = in(here);
    const int64_t first = int64_t{tile} * kKeys * from.stride;
    memory.tiles.wait_for_place(filling);
    memory.key[filling % kStages].template copy<kGroupThreads>(from.k + first, from.stride, thread);
    memory.value[filling % kStages].template copy<kGroupThreads>(from.v + first, from.stride, thread);
    if (brings_queries(item, tile)) copy_queries(here + 1);
    ptx::end_copy_group();
    ptx::wait_for_copies<1>();  // of all but this tile
    if (filling == 0)
      hand_over_queries(run.begin);
    else
      memory.tiles.written(filling - 1, lane);
    if (tile > 0 && brings_queries(item, tile - 1)) hand_over_queries(here + 1);
  }
  ptx::wait_for_copies<0>();
  memory.tiles.written(filling - 1, lane);
}

template <int D, int W> __device__ __forceinline__ void attend(const Run<D, W>& run, int group) {
  auto& memory = run.memory;
  const TensorSizes& z = run.z;
  const int lane = run.lane, group_first = group * kGroupRows, warp_first = group_first + run.warp * kWarpRows;
  const float scale = z.scale * kLog2E;
  int filling = 0, table = -1, head = -1;
  SHARDIT_KEEP_LOOP
  for (int item = run.begin; item < run.end; ++item) {
    const int nth = item - run.begin, row = run.first_query(item) + warp_first;
    if (run.head(item) != head) {
      if (table >= 0) memory.tables.read(table, lane);
      head = run.head(item);
      const int reader = group * kGroupThreads + run.thread;
      const TableEntries<W, kReaderThreads> entries(static_cast<const BF16*>(run.a.bias), z.heads, head, reader);
      memory.tables.wait_for_place(++table);
      entries.store(memory.table[table % 2], z.inverse_scale, reader);
      memory.tables.written(table, lane);
      memory.tables.wait_for(table);
    }
    auto& queries = memory.queries[nth % 2];
    memory.items.wait_for(nth);
    Accumulators<D / 8, 1> out;
    out.clear();
    RunningSoftmax<1> softmax;
    softmax.clear();
    LeftColumns<kKeys / 8> p;  // lives until its products are waited for
    SHARDIT_KEEP_LOOP
    for (int tile = 0; tile < run.kTiles; ++tile, ++filling) {
      const int stage = filling % kStages;
      Accumulators<kKeys / 8, 1> s;
      {
        Relative<W, kKeys / 8, 1> bias;
        bias.template load<1>(memory.table[table % 2], table_entry<W>(row, tile * kKeys), lane);
        bias.spread(s);
      }
      memory.tiles.wait_for(filling);
      ptx::begin_products(s.c[0]);
      multiply_rows(s, queries.rows, group_first, memory.key[stage]);
      ptx::end_product_group();
      ptx::wait_for_products<0>();  // of this tile, and of values of the tile before
      if (tile > 0) memory.tiles.read(filling - 1, lane);
      exponentiate(s, softmax, out, scale);
      p.round(s);
      ptx::begin_products(out.c[0]);
      multiply_columns(out, p, memory.value[stage]);
      ptx::end_product_group();
    }
    ptx::wait_for_products<0>();
    memory.tiles.read(filling - 1, lane);

    const int64_t token = int64_t{run.image(item)} * run.kTokens + row;
    float factor[1][2];
    finish(softmax, z.scale, run.a.lse + (int64_t{run.image(item)} * z.heads + head) * run.kTokens + row, factor, lane);
    round_pairs<D>(out, factor[0], queries.value_time, lane, [&](int i, int column, uint32_t pair) {
      *reinterpret_cast<uint32_t*>(queries.rows.at(warp_first + i, column)) = pair;  // products of these rows are done
    });
    __syncwarp();
    queries.rows.store(static_cast<BF16*>(run.a.out) + token * z.channels + head * D, z.channels, warp_first, lane);
    memory.items.read(nth, lane);
  }
}

template <int D, int W>
__global__ void __launch_bounds__(kForwardThreads, 1) attention_warpgroup_forward(TensorSizes z, Forward a) {
  static_assert(sizeof(WarpgroupForwardMemory<D, W>) + kSharedReserved <= kSharedOfSm);
  SHARDIT_DYNAMIC_SHARED(unsigned char, bytes);
  auto& memory = *reinterpret_cast<WarpgroupForwardMemory<D, W>*>(bytes);
  const int thread = threadIdx.x, in_group = thread % kGroupThreads;
  for (auto& queries : memory.queries) queries.rows.template clear_rest<kForwardThreads>(thread);
  for (auto& tile : memory.key) tile.template clear_rest<kForwardThreads>(thread);
  ptx::publish_to_products();
  if (thread == 0) {
    memory.items.begin();
    memory.tiles.begin();
    memory.tables.begin();
  }
  __syncthreads();

  const int64_t items = int64_t{z.images} * z.heads * Run<D, W>::kItems;
  const Run<D, W> run{memory,
                      z,
                      a,
                      static_cast<int>(items * blockIdx.x / gridDim.x),
                      static_cast<int>(items * (blockIdx.x + 1) / gridDim.x),
                      in_group,
                      thread % 32,
                      in_group / 32};
  const int group = __shfl_sync(0xffffffffu, thread / kGroupThreads, 0);  // one number to the compiler, too
  if (group == kGroups) {
    ptx::shrink_registers_to<kCopyRegisters>();
    copy_items(run);
  } else {
    ptx::grow_registers_to<kReaderRegisters>();
    attend(run, group);
  }
}

}  // namespace

void warpgroup_forward(const Sizes& z, const Forward& a, void* stream) {
  visit_tensor_shapes(z, [&]<int D, int W>() {
    const int items = z.images * z.heads * Run<D, W>::kItems;
    launch(attention_warpgroup_forward<D, W>, dim3(std::min(items, multiprocessors())), dim3(kForwardThreads),
           sizeof(WarpgroupForwardMemory<D, W>), stream, tensor_sizes(z), a);
  });
}

}  // namespace shardit::attention_device

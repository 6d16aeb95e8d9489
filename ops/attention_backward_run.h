// The backward kernel of attention on Hopper (attention_backward_sm90.cu): what its roles share, and the one that
// copies.
#pragma once

#include "ops/attention_gradient.h"
#include "ops/attention_tensor.h"
#include "ops/attention_warpgroup.h"

namespace shardit::attention_backward {

using namespace attention_device;
using namespace attention_warp;
using namespace attention_warpgroup;

inline constexpr int kKeyGroups = 2, kKeyWarps = 4 * kKeyGroups, kGroupWarps = 4;
inline constexpr int kKeys = kKeyGroups * kGroupRows, kQueries = 64;  // of a pass, of a tile
inline constexpr int kGradientThreads = (2 + kKeyGroups) * kGroupThreads;
inline constexpr int kStages = 3, kLogitStages = 2;  // tiles of queries; of dl
static_assert(kKeys == kBlockRows);

template <int D> inline constexpr int kChunks = kEvenChunks<D + 8>;  // the depth's, and one that has those columns
template <int D, int kCount> using Rows = Tile<D, kCount, kChunks<D>>;

template <int D, int W> struct GradientMemory {
  alignas(128) Rows<D, kKeys> key[2], value;
  Rows<D, kQueries> query[kStages], dout[kStages];
  RoundedTile<kKeys, kQueries> dl[kLogitStages];
  float table[(2 * W - 1) * (2 * W - 1)];
  DiagonalMemory<W, kQueries / 8> diagonals[kGroupWarps];
  WarpTable<W> dtable[kGroupWarps];
  float dtime[kGroupWarps][D];
  Handover<2, kGroupWarps, kKeyWarps + kGroupWarps> keys;
  Handover<1, kGroupWarps, kKeyWarps> values;
  Handover<kStages, kGroupWarps, kKeyWarps> tiles;
  Handover<kLogitStages, kKeyWarps, kGroupWarps> logits;
  Handover<1, kKeyWarps, kKeyWarps> tables;
  Handover<1, kGroupWarps, kGroupWarps> sums;

  template <int kThreads> __device__ void begin(int thread) {
    const ptx::Chunk ones = {0x3f803f80, 0x3f80, 0, 0};
    for (auto& rows : key) fill_rest<kThreads>(rows, ones, thread);
    fill_rest<kThreads>(value, ones, thread);
    for (auto& rows : query) fill_rest<kThreads>(rows, {}, thread);
    for (auto& rows : dout) fill_rest<kThreads>(rows, {}, thread);
    ptx::publish_to_products();
    if (thread != 0) return;
    keys.begin();
    values.begin();
    tiles.begin();
    logits.begin();
    tables.begin();
    sums.begin();
  }

 private:
  template <int kThreads, int kCount>
  __device__ static void fill_rest(Rows<D, kCount>& rows, const ptx::Chunk& columns, int thread) {
    rows.template clear_rest<kThreads>(thread);
    rows.template fill<kThreads>(D / 8, columns, thread);
  }
};

// A block's items, those of a head in a row, and the thread in its warpgroup. Passes are counted over all items.
template <int D, int W> struct Run {
  static constexpr int kTokens = W * W, kPasses = kTokens / kKeys, kTiles = kTokens / kQueries;  // of an item
  // So a pass's direction, and with it the order of its sums, is that of its place in the item, wherever the run
  // begins.
  static_assert(kPasses % 2 == 0);
  GradientMemory<D, W>& memory;
  const TensorSizes& z;
  const Backward& a;
  const Workspace& w;
  int begin, end, thread, lane, warp;

  __device__ int passes() const { return (end - begin) * kPasses; }
  __device__ int head(int pass) const { return (begin + pass / kPasses) / z.images; }
  __device__ int image(int pass) const { return (begin + pass / kPasses) % z.images; }
  __device__ int64_t index(int pass) const { return int64_t{image(pass)} * z.heads + head(pass); }
  __device__ int first_key(int pass) const { return pass % kPasses * kKeys; }
  // The first query of the tile that comes nth in its pass.
  __device__ int first_query(int pass, int nth) const { return (pass % 2 ? kTiles - 1 - nth : nth) * kQueries; }
  __device__ int64_t out_begin(int pass) const { return int64_t{image(pass)} * kTokens * z.channels + head(pass) * D; }
  __device__ HeadRows<const BF16> in(int pass) const {
    return {z, static_cast<const BF16*>(a.qkv), image(pass), head(pass), kTokens, D};
  }
  __device__ HeadRows<BF16> gradient(int pass) const {
    return {z, static_cast<BF16*>(a.dqkv), image(pass), head(pass), kTokens, D};
  }
};

// The role that copies: one tile is under way while the next begins.
template <int D, int W> __device__ __forceinline__ void copy_tiles(const Run<D, W>& run) {
  auto& memory = run.memory;
  const int thread = run.thread, lane = run.lane, channels = run.z.channels;
  const auto hand_over = [&](int filling) {
    if (filling % run.kTiles == 0) {
      memory.keys.written(filling / run.kTiles, lane);
      memory.values.written(filling / run.kTiles, lane);
    }
    memory.tiles.written(filling, lane);
  };
  int filling = 0;
  SHARDIT_KEEP_LOOP
  for (int pass = 0; pass < run.passes(); ++pass) SHARDIT_KEEP_LOOP
  for (int nth = 0; nth < run.kTiles; ++nth, ++filling) {
    int here = pass;  // addresses are made anew for each tile: this role has few registers
    ptx::keep_here(here);
    const int stage = filling % kStages, query = run.first_query(here, nth);
    const int64_t first = run.out_begin(here) + int64_t{query} * channels;
    memory.tiles.wait_for_place(filling);
    memory.query[stage].template copy<kGroupThreads>(run.w.query + first, channels, thread);
    memory.dout[stage].template copy<kGroupThreads>(static_cast<const BF16*>(run.a.dout) + first, channels, thread);
    auto& rows = thread % 2 ? memory.dout[stage] : memory.query[stage];
    ptx::copy_async(rows.at(thread / 2, D), run.w.columns + (run.index(here) * run.kTokens + query) * 16 + 8 * thread);
    if (nth == 0) {
      const HeadRows<const BF16> in = run.in(here);
      const int64_t first_key = int64_t{run.first_key(here)} * in.stride;
      memory.keys.wait_for_place(pass);
      memory.key[pass % 2].template copy<kGroupThreads>(in.k + first_key, in.stride, thread);
      if (filling > 0) {  // whose readers leave the values once they have had all tiles
        ptx::wait_for_copies<0>();
        hand_over(filling - 1);
      }
      memory.values.wait_for_place(pass);
      memory.value.template copy<kGroupThreads>(in.v + first_key, in.stride, thread);
    }
    ptx::end_copy_group();
    if (nth == 0) continue;
    ptx::wait_for_copies<1>();
    hand_over(filling - 1);
  }
  ptx::wait_for_copies<0>();
  hand_over(filling - 1);
}

}  // namespace shardit::attention_backward

// The backward kernel of attention on Hopper (attention_backward_sm90.cu): what its roles share, and those that copy.
#pragma once

#include "ops/attention_gradient.h"
#include "ops/attention_tensor.h"
#include "ops/attention_warpgroup.h"

namespace shardit::attention_backward {

using namespace attention_device;
using namespace attention_warp;
using namespace attention_warpgroup;

inline constexpr int kKeyGroups = 2, kKeyWarps = 4 * kKeyGroups, kGroupWarps = 4;
inline constexpr int kKeys = kKeyGroups * kGroupRows, kQueries = Workspace::kTileRows;  // of a pass, of a tile
inline constexpr int kGradientThreads = (2 + kKeyGroups) * kGroupThreads;
inline constexpr int kKeyStages = 2, kStages = 3, kLogitStages = 2;    // keys of a pass; tiles of queries; of dl
template <int W> inline constexpr int kValueStages = W == 16 ? 2 : 1;  // values of a pass: 2 where there is room
inline constexpr int kKeyCopyWarps = 2;
static_assert(kKeys == kBlockRows);

template <int D> inline constexpr int kChunks = kEvenChunks<D + 8>;  // the depth's, and one that has those columns
template <int D> using Keys = Tile<D, kKeys, kChunks<D>>;
template <int D> using Queries = Tile<D, kQueries, kChunks<D>, 0>;

template <int D, int W> struct GradientMemory {
  alignas(128) Keys<D> key[kKeyStages], value[kValueStages<W>];
  Queries<D> query[kStages], dout[kStages];
  RoundedTile<kKeys, kQueries> dl[kLogitStages];
  float table[(2 * W - 1) * (2 * W - 1)];
  DiagonalMemory<W, kQueries / 8> diagonals[kGroupWarps];
  WarpTable<W> dtable[kGroupWarps];
  float dtime[kGroupWarps][D];
  Handover<kKeyStages, kKeyCopyWarps, kKeyWarps + kGroupWarps> keys;
  Handover<kValueStages<W>, kKeyCopyWarps, kKeyWarps> values;
  Handover<kStages, 1, kKeyWarps> tiles;
  Handover<kLogitStages, kKeyWarps, kGroupWarps> logits;
  Handover<1, kKeyWarps, kKeyWarps> tables;
  Handover<1, kGroupWarps, kGroupWarps> sums;

  template <int kThreads> __device__ void begin(int thread) {
    for (auto& rows : key) fill_ones<kThreads>(rows, thread);
    for (auto& rows : value) fill_ones<kThreads>(rows, thread);
    for (auto& rows : query) rows.template clear_rest<kThreads>(thread);
    for (auto& rows : dout) rows.template clear_rest<kThreads>(thread);
    if (thread == 0) {
      keys.begin();
      values.begin();
      tiles.begin();
      logits.begin();
      tables.begin();
      sums.begin();
    }
    ptx::publish_to_products();
  }

 private:
  template <int kThreads> __device__ static void fill_ones(Keys<D>& rows, int thread) {
    rows.template clear_rest<kThreads>(thread);
    rows.template fill<kThreads>(D / 8, {0x3f803f80, 0x3f80, 0, 0}, thread);
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
  __device__ HeadRows<const BF16> in(int pass) const {
    return {z, static_cast<const BF16*>(a.qkv), image(pass), head(pass), kTokens, D};
  }
  __device__ HeadRows<BF16> gradient(int pass) const {
    return {z, static_cast<BF16*>(a.dqkv), image(pass), head(pass), kTokens, D};
  }
};

// The thread that has the copy engine bring tiles of queries.
template <int D, int W> __device__ __forceinline__ void copy_tiles(const Run<D, W>& run) {
  constexpr uint32_t kBytes = Workspace::tile_numbers(D) * sizeof(BF16);
  auto& memory = run.memory;
  int filling = 0;
  SHARDIT_KEEP_LOOP
  for (int pass = 0; pass < run.passes(); ++pass) SHARDIT_KEEP_LOOP
  for (int nth = 0; nth < run.kTiles; ++nth, ++filling) {
    const BF16* const from = run.w.tiles + Workspace::tile(run.index(pass), run.first_query(pass, nth), run.kTokens, D);
    const int stage = filling % kStages;
    memory.tiles.wait_for_place(filling);
    ptx::Barrier& arrived = memory.tiles.expect(filling, 2 * kBytes);
    ptx::copy_bulk(memory.query[stage].numbers, from, kBytes, arrived);
    ptx::copy_bulk(memory.dout[stage].numbers, from + Workspace::tile_numbers(D), kBytes, arrived);
  }
}

// The warps that copy keys and values; `thread` counts in them.
template <int D, int W> __device__ __forceinline__ void copy_keys(const Run<D, W>& run, int thread) {
  auto& memory = run.memory;
  SHARDIT_KEEP_LOOP
  for (int pass = 0; pass < run.passes(); ++pass) {
    int here = pass;  // addresses are made anew for each pass: this role has few registers
    ptx::keep_here(here);
    const HeadRows<const BF16> in = run.in(here);
    const int64_t first = int64_t{run.first_key(here)} * in.stride;
    memory.keys.wait_for_place(pass);
    memory.key[pass % kKeyStages].template copy<32 * kKeyCopyWarps>(in.k + first, in.stride, thread);
    ptx::end_copy_group();
    memory.values.wait_for_place(pass);
    memory.value[pass % kValueStages<W>].template copy<32 * kKeyCopyWarps>(in.v + first, in.stride, thread);
    ptx::end_copy_group();
    ptx::wait_for_copies<1>();
    memory.keys.written(pass, run.lane);
    ptx::wait_for_copies<0>();
    memory.values.written(pass, run.lane);
  }
}

}  // namespace shardit::attention_backward

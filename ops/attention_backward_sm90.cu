// The backward pass of attention on Hopper's tensor cores (wgmma), bounded by their rate: five products of N x N x D.
//
// An item is one head of one image. Keys are taken 128 at a time, a pass; in each, all queries go by, 64 at a time.
// There are as many blocks as multiprocessors, each with a run of items, and the warpgroups of a block have roles,
// which hand tiles over by barriers in shared memory:
//
//   copies      keys and values of a pass, tiles of q + q_t and of dout (by the copy engine), ahead of the others
//   keys (two)  64 keys each: p^T and dl^T of a tile from k q^T and v dout^T; sums dv += p^T dout and dk += dl^T q in
//               registers; dl, rounded, goes to shared memory
//   queries     dq += dl k, and dl's sums for dbias
//
// lse and delta come into the products: q + q_t has columns - lse sqrt(D) beside its depth, dout - delta, and keys and
// values ones against them, so that p = exp2(s scale) and dl = p dp. Three bf16 columns hold one number. Such tiles are
// made beforehand (attention_prepare_sm90.cu), since they pass by once for each 128 keys.
//
// Sums of dq go on from pass to pass in the workspace, where each thread adds to what is its own: no sum depends on an
// order that the kernel's source does not give. Every other pass takes the queries backwards, so that it begins with
// what is still in the second-level cache.
#include "core/cuda.h"
#include "ops/attention_backward_run.h"

namespace shardit::attention_device {
namespace {

using namespace attention_backward;

// Registers of a thread by role; together those of four times 128.
constexpr int kCopyRegisters = 24, kKeyRegisters = 200, kQueryRegisters = 88;

// ---- keys ----------------------------------------------------------------------------------------------------------

// 64 keys of each pass, from `first` on.
template <int D, int W> __device__ __forceinline__ void sum_by_keys(const Run<D, W>& run, int first) {
  auto& memory = run.memory;
  const TensorSizes& z = run.z;
  const int lane = run.lane, warp_first = first + kWarpRows * run.warp;
  const float scale = z.scale * kLog2E;
  int filling = 0, table = -1, head = -1;
  SHARDIT_KEEP_LOOP
  for (int pass = 0; pass < run.passes(); ++pass) {
    if (run.head(pass) != head) {
      if (table >= 0) memory.tables.read(table, lane);
      head = run.head(pass);
      const int reader = 2 * first + run.thread;
      const TableEntries<W, kKeyGroups * kGroupThreads> entries(static_cast<const BF16*>(run.a.bias), z.heads, head,
                                                                reader);
      memory.tables.wait_for_place(++table);
      entries.store(memory.table, z.inverse_scale, reader);
      memory.tables.written(table, lane);
      memory.tables.wait_for(table);
    }
    Accumulators<D / 8, 1> dk, dv;
    LeftColumns<kQueries / 8> p, dl;  // live until their products are waited for
    dk.clear();
    dv.clear();
    memory.keys.wait_for(pass);
    memory.values.wait_for(pass);
    SHARDIT_KEEP_LOOP
    for (int nth = 0; nth < run.kTiles; ++nth, ++filling) {
      const int stage = filling % kStages;
      Accumulators<kQueries / 8, 1> s, dp;
      {
        Relative<W, kQueries / 8, 1> bias;
        const int query = run.first_query(pass, nth), key = run.first_key(pass) + warp_first;
        bias.template load<-1>(memory.table, table_entry<W>(query, key), lane);
        bias.spread(s);
      }
      dp.clear();
      memory.tiles.wait_for(filling);
      ptx::begin_products(s.c[0], dp.c[0]);
      multiply_rows(s, memory.key[pass % kKeyStages], first, memory.query[stage]);
      ptx::end_product_group();
      multiply_rows(dp, memory.value[pass % kValueStages<W>], first, memory.dout[stage]);
      ptx::end_product_group();
      ptx::wait_for_products<1>();
      if (nth > 0) memory.tiles.read(filling - 1, lane);
      SHARDIT_UNROLL
      for (int n = 0; n < kQueries / 8; ++n) SHARDIT_UNROLL
      for (int i = 0; i < 4; ++i) s.c[0][n][i] = ptx::exp2_approximate(s.c[0][n][i] * scale);
      p.round(s);
      ptx::begin_products(dv.c[0]);
      multiply_columns(dv, p, memory.dout[stage]);
      ptx::end_product_group();
      ptx::wait_for_products<1>();
      if (nth + 1 == run.kTiles) {
        memory.keys.read(pass, lane);
        memory.values.read(pass, lane);
      }
      SHARDIT_UNROLL
      for (int n = 0; n < kQueries / 8; ++n) SHARDIT_UNROLL
      for (int i = 0; i < 4; ++i) s.c[0][n][i] *= dp.c[0][n][i];
      dl.round(s);
      ptx::begin_products(dk.c[0]);
      multiply_columns(dk, dl, memory.query[stage]);
      ptx::end_product_group();
      memory.logits.wait_for_place(filling);
      memory.dl[filling % kLogitStages].store(dl, warp_first, lane);
      memory.logits.written(filling, lane);
    }
    ptx::wait_for_products<0>();
    memory.tiles.read(filling - 1, lane);
    const HeadRows<BF16> to = run.gradient(pass);
    const int64_t row = int64_t{run.first_key(pass) + warp_first} * to.stride;
    round_to<D>(to.k + row, to.stride, dk, z.scale, lane);
    round_to<D>(to.v + row, to.stride, dv, 1, lane);
  }
}

// ---- queries -------------------------------------------------------------------------------------------------------

// What a thread has of dq of an item's tiles in the block's place in the workspace: a sum over passes, each of which
// has a part.
template <int D> struct DqSums {
  ptx::Four* of_thread;
  __device__ ptx::Four* at(int query, int n) const {
    return of_thread + (query / kQueries * (D / 8) + n) * kGroupThreads;
  }
  // part: becomes the sum, in its first pass; is added to it; has the sum added, in its last.
  __device__ void begin(const Accumulators<D / 8, 1>& part, int query) const {
    SHARDIT_UNROLL
    for (int n = 0; n < D / 8; ++n) *at(query, n) = four(part, n);
  }
  __device__ void add(const Accumulators<D / 8, 1>& part, int query) const {
    SHARDIT_UNROLL
    for (int n = 0; n < D / 8; ++n) ptx::add_to_global(at(query, n), four(part, n));
  }
  __device__ void load(Accumulators<D / 8, 1>& sum, int query) const {
    SHARDIT_UNROLL
    for (int n = 0; n < D / 8; ++n) {
      const ptx::Four x = ptx::load_added(at(query, n));
      SHARDIT_UNROLL
      for (int i = 0; i < 4; ++i) sum.c[0][n][i] = x.numbers[i];
    }
  }

 private:
  static __device__ ptx::Four four(const Accumulators<D / 8, 1>& part, int n) {
    const float(&c)[4] = part.c[0][n];
    return {c[0], c[1], c[2], c[3]};
  }
};

// dqkv_time of an item, one channel per thread.
template <int D, int W> __device__ void store_time(const Run<D, W>& run, int pass) {
  constexpr int kParts = W * W / Workspace::kPartRows;
  if (run.thread >= D) return;
  float query = 0, value = 0;
  for (const auto& of_warp : run.memory.dtime) query += of_warp[run.thread];
  SHARDIT_UNROLL
  for (int part = 0; part < kParts; ++part) value += run.w.dout[(run.index(pass) * kParts + part) * D + run.thread];
  BF16* const to = static_cast<BF16*>(run.a.dqkv_time) + int64_t{run.image(pass)} * 3 * run.z.channels +
                   run.head(pass) * D + run.thread;
  to[0] = BF16(query * run.z.scale);
  to[run.z.channels] = BF16(0.0f);  // k_t has no effect
  to[2 * run.z.channels] = BF16(value);
}

template <int D, int W> __device__ __forceinline__ void sum_by_queries(const Run<D, W>& run) {
  auto& memory = run.memory;
  const int lane = run.lane, warp = run.warp;
  const DqSums<D> sums{reinterpret_cast<ptx::Four*>(run.w.dq + int64_t{blockIdx.x} * run.kTokens * D) + run.thread};
  memory.diagonals[warp].clear(lane);
  int filling = 0;
  SHARDIT_KEEP_LOOP
  for (int pass = 0; pass < run.passes(); ++pass) {
    const int of_item = pass % run.kPasses;
    const bool first = of_item == 0, last = of_item + 1 == run.kPasses;
    memory.sums.wait_for_place(pass);
    memory.dtable[warp].clear(lane);
    for (int i = lane; i < D; i += 32) memory.dtime[warp][i] = 0;
    memory.keys.wait_for(pass);
    SHARDIT_KEEP_LOOP
    for (int nth = 0; nth < run.kTiles; ++nth, ++filling) {
      const int query = run.first_query(pass, nth);
      const auto& dl = memory.dl[filling % kLogitStages];
      Accumulators<D / 8, 1> dq;
      if (last)
        sums.load(dq, query);
      else
        dq.clear();
      memory.logits.wait_for(filling);
      ptx::begin_products(dq.c[0]);
      multiply_columns(dq, dl, memory.key[pass % kKeyStages]);
      ptx::end_product_group();
      typename DiagonalMemory<W, kQueries / 8>::Sums differences;
      differences.gather_pairs(
          [&](uint32_t(&pairs)[4], int a, int n) { dl.load(pairs, kRows / 8 * warp + a, n, lane); });
      memory.diagonals[warp].add_to(memory.dtable[warp], query / W, differences, lane);
      ptx::wait_for_products<0>();
      memory.logits.read(filling, lane);
      if (nth + 1 == run.kTiles) memory.keys.read(pass, lane);
      if (last) {
        const HeadRows<BF16> to = run.gradient(pass);
        const int row = query + warp * kWarpRows;
        round_to<D>(to.q + int64_t{row} * to.stride, to.stride, dq, run.z.scale, lane);
        add_columns<D>(dq, memory.dtime[warp], lane);
      } else if (first) {
        sums.begin(dq, query);
      } else {
        sums.add(dq, query);
      }
    }
    memory.sums.written(pass, lane);
    memory.sums.wait_for(pass);
    float* const partial =
        run.w.bias + (run.index(pass) * run.kPasses + of_item) * (Workspace::bias_rows(W) * WarpTable<W>::kWidth);
    store_partial_bias<W, kGroupThreads>(memory.dtable, partial, run.thread);
    if (last) store_time(run, pass);
    memory.sums.read(pass, lane);
  }
}

// ---- the kernel ----------------------------------------------------------------------------------------------------

__device__ int first_item(const TensorSizes& z, unsigned block) {
  return static_cast<int>(int64_t{z.images} * z.heads * block / gridDim.x);
}

template <int D, int W>
__global__ void __launch_bounds__(kGradientThreads, 1)
    attention_warpgroup_gradient(TensorSizes z, Backward a, Workspace w) {
  static_assert(sizeof(GradientMemory<D, W>) + kSharedReserved <= kSharedOfSm);
  SHARDIT_DYNAMIC_SHARED(unsigned char, bytes);
  auto& memory = *reinterpret_cast<GradientMemory<D, W>*>(bytes);
  const int thread = threadIdx.x, in_group = thread % kGroupThreads;
  memory.template begin<kGradientThreads>(thread);
  __syncthreads();

  const Run<D, W> run{
      memory, z, a, w, first_item(z, blockIdx.x), first_item(z, blockIdx.x + 1), in_group, thread % 32, in_group / 32};
  const int group = __shfl_sync(0xffffffffu, thread / kGroupThreads, 0);  // one number to the compiler, too
  if (group == 0) {
    ptx::shrink_registers_to<kCopyRegisters>();
    const int warp = __shfl_sync(0xffffffffu, run.warp, 0);
    if (warp < kKeyCopyWarps)
      copy_keys(run, in_group);
    else if (warp == kKeyCopyWarps && run.lane == 0)
      copy_tiles(run);
  } else if (group <= kKeyGroups) {
    ptx::grow_registers_to<kKeyRegisters>();
    sum_by_keys(run, (group - 1) * kGroupRows);
  } else {
    ptx::shrink_registers_to<kQueryRegisters>();
    sum_by_queries(run);
  }
}

}  // namespace

void warpgroup_gradient(const Sizes& z, const Backward& a, void* stream) {
  const int blocks = std::min(static_cast<int>(Workspace::runs(z)), multiprocessors());
  visit_tensor_shapes(z, [&]<int D, int W>() {
    launch(attention_warpgroup_gradient<D, W>, dim3(blocks), dim3(kGradientThreads), sizeof(GradientMemory<D, W>),
           stream, tensor_sizes(z), a, Workspace(z, a.workspace));
  });
}

void warpgroup_backward(const Sizes& z, const Backward& a, void* stream) {
  warpgroup_prepare(z, a, stream);
  warpgroup_gradient(z, a, stream);
  sum_bias_by_keys(z, a, stream);
}

}  // namespace shardit::attention_device

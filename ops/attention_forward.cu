// The forward pass of attention on tensor cores; bounded by their rate (4 N N D flops per head against 8 N D bytes).
//
// A block of four warps computes 128 queries of one head: 32 per warp, whose rows stay in registers. Keys and values
// pass by in tiles of kKeys, two in shared memory at a time: one is read while the next arrives. Softmax runs along, on
// raw products: the table holds bias sqrt(D) and starts the products' sums, so that exp(l - max) is one fma and one
// exp2.
#include "core/cuda.h"
#include "ops/attention_softmax.h"
#include "ops/attention_tensor.h"

namespace shardit::attention_device {
namespace {

using namespace attention_warp;

// Shared memory of a block.
template <int D, int W, int kKeys> struct ForwardMemory {
  alignas(128) BF16 query[kBlockRows * kStride<D>];  // in the end, the output
  BF16 key[2][kKeys * kStride<D>], value[2][kKeys * kStride<D>];
  float table[(2 * W - 1) * (2 * W - 1)];
};

// kHeld: the queries' fragments stay in registers. kBlocks: blocks that share an SM.
template <int D, int W, int kKeys, bool kHeld, int kBlocks>
__global__ void __launch_bounds__(kThreads, kBlocks) attention_forward(TensorSizes z, Forward a) {
  constexpr int kTokens = W * W;
  SHARDIT_DYNAMIC_SHARED(unsigned char, bytes);
  auto& memory = *reinterpret_cast<ForwardMemory<D, W, kKeys>*>(bytes);
  const int thread = threadIdx.x, lane = thread % 32, warp = thread / 32;
  const int begin = blockIdx.x * kBlockRows, head = blockIdx.y, image = blockIdx.z;
  const HeadRows<const BF16> in(z, static_cast<const BF16*>(a.qkv), image, head, kTokens, D);
  const BF16* time = static_cast<const BF16*>(a.qkv_time) + int64_t{image} * 3 * z.channels + head * D;

  const auto copy_tile = [&](int tile) {
    const int64_t first = int64_t{tile} * kKeys * in.stride;
    copy_rows<D, kKeys, kThreads>(memory.key[tile % 2], in.k + first, in.stride, thread);
    copy_rows<D, kKeys, kThreads>(memory.value[tile % 2], in.v + first, in.stride, thread);
    ptx::end_copy_group();
  };
  const ColumnChunks<D> query_time(time, thread);
  const TableEntries<W, kThreads> table(static_cast<const BF16*>(a.bias), z.heads, head, thread);
  copy_rows<D, kBlockRows, kThreads>(memory.query, in.q + int64_t{begin} * in.stride, in.stride, thread);
  ptx::end_copy_group();
  copy_tile(0);
  table.store(memory.table, z.inverse_scale, thread);
  ptx::wait_for_copies<1>();
  add_to_rows<D, kBlockRows, kThreads>(memory.query, query_time, thread);
  __syncthreads();

  BF16* rows = memory.query + kRows * warp * kStride<D>;
  const LeftOperand<D, kHeld> query(rows, lane);
  Accumulators<D / 8> out;
  out.clear();
  RunningSoftmax<2> softmax;
  softmax.clear();
  const float scale = z.scale * kLog2E;
  SHARDIT_KEEP_LOOP
  for (int tile = 0; tile < kTokens / kKeys; ++tile) {
    ptx::wait_for_copies<0>();
    __syncthreads();  // the tile has arrived, and all have read the one before
    if (tile + 1 < kTokens / kKeys) copy_tile(tile + 1);
    Accumulators<kKeys / 8> s;
    Relative<W, kKeys / 8> bias;
    bias.template load<1>(memory.table, table_entry<W>(begin + kRows * warp, tile * kKeys), lane);
    bias.spread(s);
    multiply_rows<D>(s, query, memory.key[tile % 2], lane);
    exponentiate(s, softmax, out, scale);
    multiply_columns<D>(out, s, memory.value[tile % 2], lane);
  }

  float factor[2][2];
  const int64_t row = begin + kRows * warp;
  finish(softmax, z.scale, a.lse + (int64_t{image} * z.heads + head) * kTokens + row, factor, lane);
  round_rows<D>(rows, out, factor, time + 2 * z.channels, lane);
  __syncwarp();
  BF16* to = static_cast<BF16*>(a.out) + (int64_t{image} * kTokens + row) * z.channels + head * D;
  store_rows<D, kRows, 32>(to, z.channels, rows, lane);
}

}  // namespace

template <int D, int W, int kKeys, bool kHeld, int kBlocks>
void warp_forward_as(const Sizes& z, const Forward& a, void* stream) {
  const dim3 grid(W * W / kBlockRows, z.heads, z.images);
  launch(attention_forward<D, W, kKeys, kHeld, kBlocks>, grid, dim3(kThreads), sizeof(ForwardMemory<D, W, kKeys>),
         stream, tensor_sizes(z), a);
}

void warp_forward(const Sizes& z, const Forward& a, void* stream) {
  visit_tensor_shapes(z, [&]<int D, int W>() { warp_forward_as<D, W, 64, true, 2>(z, a, stream); });
}

}  // namespace shardit::attention_device

// The forward pass of attention on tensor cores; bounded by their rate (4 N N D flops per head against 8 N D bytes).
//
// A block of four warps computes 128 queries of one head: 32 per warp, whose rows stay in registers. Keys and values
// pass by in tiles of kKeys, two in shared memory at a time: one is read while the next arrives. Softmax runs along, on
// raw products: the table holds bias sqrt(D) and starts the products' sums, so that exp(l - max) is one fma and one
// exp2.
#include "core/cuda.h"
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

// Of the four rows of a thread, [m][r] = row 16 m + 8 r + g.
struct RunningSoftmax {
  float reference[2][2];  // a raw product that none exceeds by more than kSlack powers of 2
  float sum[2][2];        // of exp(l - reference), over this thread's columns
};
constexpr float kSlack = 8;

// The row's new reference, the largest product so far if the old one is exceeded by too much; by what that scales all
// that was made of the old one.
template <int kTiles>
__device__ float raise_reference(const Accumulators<kTiles>& s, int m, int r, float scale, float& reference) {
  float largest = s.c[m][0][2 * r];
  SHARDIT_UNROLL
  for (int n = 0; n < kTiles; ++n) largest = fmaxf(largest, fmaxf(s.c[m][n][2 * r], s.c[m][n][2 * r + 1]));
  largest = largest_of_quad(largest);
  const float before = reference;
  if ((largest - before) * scale > kSlack) reference = largest;
  return ptx::exp2_approximate((before - reference) * scale);
}

template <int kDepthTiles>
__device__ void shrink(Accumulators<kDepthTiles>& out, RunningSoftmax& softmax, const float (&factor)[2][2]) {
  SHARDIT_UNROLL
  for (int m = 0; m < 2; ++m) SHARDIT_UNROLL
  for (int r = 0; r < 2; ++r) {
    softmax.sum[m][r] *= factor[m][r];
    SHARDIT_UNROLL
    for (int d = 0; d < kDepthTiles; ++d) {
      out.c[m][d][2 * r] *= factor[m][r];
      out.c[m][d][2 * r + 1] *= factor[m][r];
    }
  }
}

// Turns products into exp(l - reference); scales out and sum where a reference rose, which is rare after the first
// tile.
template <int kTiles, int kDepthTiles>
__device__ void exponentiate(Accumulators<kTiles>& s, RunningSoftmax& softmax, Accumulators<kDepthTiles>& out,
                             float scale) {
  float factor[2][2];
  bool rose = false;
  SHARDIT_UNROLL
  for (int m = 0; m < 2; ++m) SHARDIT_UNROLL
  for (int r = 0; r < 2; ++r) {
    factor[m][r] = raise_reference(s, m, r, scale, softmax.reference[m][r]);
    rose |= factor[m][r] != 1;
  }
  if (__any_sync(0xffffffffu, rose)) shrink(out, softmax, factor);
  SHARDIT_UNROLL
  for (int m = 0; m < 2; ++m) SHARDIT_UNROLL
  for (int r = 0; r < 2; ++r) {
    const float shift = -softmax.reference[m][r] * scale;
    SHARDIT_UNROLL
    for (int n = 0; n < kTiles; ++n) SHARDIT_UNROLL
    for (int i = 2 * r; i < 2 * r + 2; ++i) {
      s.c[m][n][i] = ptx::exp2_approximate(fmaf(s.c[m][n][i], scale, shift));
      softmax.sum[m][r] += s.c[m][n][i];
    }
  }
}

// lse of the warp's rows, and what to divide its rows of out by.
__device__ inline void finish(const RunningSoftmax& softmax, float scale, float* lse, float (&factor)[2][2], int lane) {
  for (int m = 0; m < 2; ++m)
    for (int r = 0; r < 2; ++r) {
      const float sum = sum_of_quad(softmax.sum[m][r]);
      factor[m][r] = 1.0f / sum;
      if (lane % 4 == 0) lse[16 * m + 8 * r + lane / 4] = fmaf(softmax.reference[m][r], scale, logf(sum));
    }
}

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
  copy_rows<D, kBlockRows, kThreads>(memory.query, in.q + int64_t{begin} * in.stride, in.stride, thread);
  ptx::end_copy_group();
  copy_tile(0);
  load_table<W>(memory.table, static_cast<const BF16*>(a.bias), z.heads, head, z.inverse_scale, thread, kThreads);
  ptx::wait_for_copies<1>();
  add_to_rows<D, kBlockRows, kThreads>(memory.query, time, thread);
  __syncthreads();

  BF16* rows = memory.query + kRows * warp * kStride<D>;
  const LeftOperand<D, kHeld> query(rows, lane);
  Accumulators<D / 8> out;
  out.clear();
  RunningSoftmax softmax;
  for (int m = 0; m < 2; ++m)
    for (int r = 0; r < 2; ++r) softmax.reference[m][r] = -INFINITY, softmax.sum[m][r] = 0;
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
void tensor_forward_as(const Sizes& z, const Forward& a, void* stream) {
  const dim3 grid(W * W / kBlockRows, z.heads, z.images);
  launch(attention_forward<D, W, kKeys, kHeld, kBlocks>, grid, dim3(kThreads), sizeof(ForwardMemory<D, W, kKeys>),
         stream, tensor_sizes(z), a);
}

void tensor_forward(const Sizes& z, const Forward& a, void* stream) {
  visit_tensor_shapes(z, [&]<int D, int W>() { tensor_forward_as<D, W, 64, true, 2>(z, a, stream); });
}

}  // namespace shardit::attention_device

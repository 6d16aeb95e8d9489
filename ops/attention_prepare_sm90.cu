// What attention's backward pass on Hopper reads of each query, made once: q + q_t, and lse and delta as columns that
// stand beside q + q_t and dout (attention_backward_sm90.cu); also sums of dout. Bounded by memory.
//
// A block takes kPartRows whole rows of up to kHeads heads, a thread 8 of their columns.
#include "core/cuda.h"
#include "ops/attention_tensor.h"

namespace shardit::attention_device {
namespace {

using attention_warp::sum_of;
using ptx::Chunk;

constexpr int kHeads = 16, kPartRows = Workspace::kPartRows, kAtOnce = 8;  // rows a thread has under way

// x as the sum of three bf16, the first columns of a chunk.
__device__ Chunk split(float x) {
  const float high = static_cast<float>(BF16(x)), rest = x - high, middle = static_cast<float>(BF16(rest));
  return {ptx::pack_bf16(high, middle), ptx::pack_bf16(rest - middle, 0), 0, 0};
}

// dout (out - v_t) over 8 columns.
__device__ float dot(const Chunk& dout, const Chunk& out, const Chunk& value_time) {
  float sum = 0;
  SHARDIT_UNROLL
  for (int k = 0; k < 4; ++k) {
    sum = fmaf(ptx::low_of(dout.words[k]), ptx::low_of(out.words[k]) - ptx::low_of(value_time.words[k]), sum);
    sum = fmaf(ptx::high_of(dout.words[k]), ptx::high_of(out.words[k]) - ptx::high_of(value_time.words[k]), sum);
  }
  return sum;
}

template <int D> __global__ void attention_prepare(TensorSizes z, int tokens, Backward a, Workspace w) {
  constexpr int kChunks = D / 8, kThreads = kHeads * kChunks;
  SHARDIT_SHARED(float, deltas, [kPartRows][kThreads + 1]);
  const int thread = threadIdx.x, first_head = blockIdx.y * kHeads, head = first_head + thread / kChunks;
  const int image = blockIdx.z, row = blockIdx.x * kPartRows;
  if (head < z.heads) {
    const int column = head * D + thread % kChunks * 8;
    const auto chunk = [](const void* rows, int64_t at) { return static_cast<const Chunk*>(rows) + at / 8; };
    const int64_t first = (int64_t{image} * tokens + row) * z.channels + column,
                  time = int64_t{image} * 3 * z.channels + column;
    const Chunk query_time = *chunk(a.qkv_time, time), value_time = *chunk(a.qkv_time, time + 2 * z.channels);
    const Chunk *query = chunk(a.qkv, 3 * first - 2 * column), *out = chunk(a.out, first), *dout = chunk(a.dout, first);
    Chunk* const to = reinterpret_cast<Chunk*>(w.query) + first / 8;
    const int stride = z.channels / 8;
    float sums[8] = {};
    SHARDIT_KEEP_LOOP
    for (int begin = 0; begin < kPartRows; begin += kAtOnce) {
      Chunk queries[kAtOnce], outs[kAtOnce], gradients[kAtOnce];  // all are asked for before the first is used
      SHARDIT_UNROLL
      for (int i = 0; i < kAtOnce; ++i) {
        queries[i] = query[3 * (begin + i) * stride];
        outs[i] = out[(begin + i) * stride];
        gradients[i] = dout[(begin + i) * stride];
      }
      SHARDIT_UNROLL
      for (int i = 0; i < kAtOnce; ++i) {
        to[(begin + i) * stride] = sum_of(queries[i], query_time);
        deltas[begin + i][thread] = dot(gradients[i], outs[i], value_time);
        SHARDIT_UNROLL
        for (int k = 0; k < 4; ++k) {
          sums[2 * k] += ptx::low_of(gradients[i].words[k]);
          sums[2 * k + 1] += ptx::high_of(gradients[i].words[k]);
        }
      }
    }
    const int64_t part = (int64_t{image} * z.heads + head) * (tokens / kPartRows) + blockIdx.x;
    for (int k = 0; k < 8; ++k) w.dout[part * D + thread % kChunks * 8 + k] = sums[k];
  }
  __syncthreads();
  for (int i = thread; i < kHeads * kPartRows; i += kThreads) {
    const int in_block = i / kPartRows, at = i % kPartRows;
    if (first_head + in_block >= z.heads) break;
    float delta = 0;
    for (int k = 0; k < kChunks; ++k) delta += deltas[at][in_block * kChunks + k];
    const int64_t query = (int64_t{image} * z.heads + first_head + in_block) * tokens + row + at;
    Chunk* const columns = reinterpret_cast<Chunk*>(w.columns) + 2 * query;
    columns[0] = split(-a.lse[query] * z.inverse_scale);
    columns[1] = split(-delta);
  }
}

}  // namespace

void warpgroup_prepare(const Sizes& z, const Backward& a, void* stream) {
  const dim3 grid(z.tokens / kPartRows, (z.heads + kHeads - 1) / kHeads, z.images);
  const auto kernel = z.depth == 64 ? attention_prepare<64> : attention_prepare<72>;
  launch(kernel, grid, dim3(kHeads * z.depth / 8), 0, stream, tensor_sizes(z), z.tokens, a, Workspace(z, a.workspace));
}

}  // namespace shardit::attention_device

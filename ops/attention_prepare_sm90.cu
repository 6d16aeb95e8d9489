// What attention's backward pass on Hopper reads of each query, made once: tiles of q + q_t and dout as they stand in
// shared memory, with lse and delta as columns beside them (attention_backward_sm90.cu); also sums of dout. Bounded by
// memory.
//
// A block takes kPartRows whole rows of up to kHeads heads, a thread 8 of their columns. In tiles the chunks of
// neighbouring rows are neighbours: they change threads in shared memory.
#include "core/cuda.h"
#include "ops/attention_tensor.h"

namespace shardit::attention_device {
namespace {

using attention_warp::sum_of;
using ptx::Chunk;

constexpr int kHeads = 16, kPartRows = Workspace::kPartRows, kTileRows = Workspace::kTileRows;
constexpr int kAtOnce = 8;  // rows a thread has under way

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

template <int D>
__global__ void __launch_bounds__(kHeads* D / 8, 2)
    attention_prepare(TensorSizes z, int tokens, Backward a, Workspace w) {
  constexpr int kChunks = D / 8, kThreads = kHeads * kChunks;
  SHARDIT_SHARED(float, deltas, [kAtOnce][kThreads + 1]);
  SHARDIT_SHARED(Chunk, staged, [2][kThreads][kAtOnce + 1]);  // of q + q_t and dout
  const int thread = threadIdx.x, first_head = blockIdx.y * kHeads, head = first_head + thread / kChunks;
  const int image = blockIdx.z, row = blockIdx.x * kPartRows, stride = z.channels / 8;
  const bool here = head < z.heads;
  const int column = head * D + thread % kChunks * 8;
  const auto chunk = [](const void* rows, int64_t at) { return static_cast<const Chunk*>(rows) + at / 8; };
  const int64_t first = (int64_t{image} * tokens + row) * z.channels + column, heads = int64_t{image} * z.heads,
                time = int64_t{image} * 3 * z.channels + column;
  const Chunk *query = chunk(a.qkv, 3 * first - 2 * column), *out = chunk(a.out, first), *dout = chunk(a.dout, first);
  const Chunk query_time = here ? *chunk(a.qkv_time, time) : Chunk{},
              value_time = here ? *chunk(a.qkv_time, time + 2 * z.channels) : Chunk{};
  // A chunk's place among the tiles: of q + q_t, or of dout.
  const auto place = [&](bool of_dout, int of_head, int of_chunk, int of_row) -> Chunk& {
    BF16* const tile =
        w.tiles + Workspace::tile(heads + of_head, row, tokens, D) + of_dout * Workspace::tile_numbers(D);
    return reinterpret_cast<Chunk*>(tile)[of_chunk * kTileRows + (row + of_row) % kTileRows];
  };
  float sums[8] = {};
  SHARDIT_KEEP_LOOP
  for (int begin = 0; begin < kPartRows; begin += kAtOnce) {
    Chunk queries[kAtOnce] = {}, outs[kAtOnce] = {}, gradients[kAtOnce] = {};  // asked for before the first is used
    if (here) {
      SHARDIT_UNROLL
      for (int i = 0; i < kAtOnce; ++i) {
        queries[i] = query[3 * (begin + i) * stride];
        outs[i] = out[(begin + i) * stride];
        gradients[i] = dout[(begin + i) * stride];
      }
    }
    SHARDIT_UNROLL
    for (int i = 0; i < kAtOnce; ++i) {
      staged[0][thread][i] = sum_of(queries[i], query_time);
      staged[1][thread][i] = gradients[i];
      deltas[i][thread] = dot(gradients[i], outs[i], value_time);
      SHARDIT_UNROLL
      for (int k = 0; k < 4; ++k) {
        sums[2 * k] += ptx::low_of(gradients[i].words[k]);
        sums[2 * k + 1] += ptx::high_of(gradients[i].words[k]);
      }
    }
    __syncthreads();
    // Neighbouring threads have kAtOnce rows of a chunk, of kHeads / kAtOnce heads together.
    SHARDIT_KEEP_LOOP
    for (int i = 0; i < kAtOnce; ++i) {
      const int at = thread % kAtOnce, from = i * (kThreads / kAtOnce) + thread / kAtOnce;
      if (first_head + from / kChunks >= z.heads) break;
      for (const bool of_dout : {false, true})
        place(of_dout, first_head + from / kChunks, from % kChunks, begin + at) = staged[of_dout][from][at];
    }
    const int of_head = first_head + thread / kAtOnce, of_row = begin + thread % kAtOnce;
    if (thread < kHeads * kAtOnce && of_head < z.heads) {
      float delta = 0;
      for (int k = 0; k < kChunks; ++k) delta += deltas[thread % kAtOnce][thread / kAtOnce * kChunks + k];
      const float lse = a.lse[(heads + of_head) * tokens + row + of_row];
      place(false, of_head, kChunks, of_row) = split(-lse * z.inverse_scale);
      place(true, of_head, kChunks, of_row) = split(-delta);
    }
    __syncthreads();
  }
  if (here) {
    const int64_t part = (heads + head) * (tokens / kPartRows) + blockIdx.x;
    for (int k = 0; k < 8; ++k) w.dout[part * D + thread % kChunks * 8 + k] = sums[k];
  }
}

}  // namespace

void warpgroup_prepare(const Sizes& z, const Backward& a, void* stream) {
  const dim3 grid(z.tokens / kPartRows, (z.heads + kHeads - 1) / kHeads, z.images);
  const auto kernel = z.depth == 64 ? attention_prepare<64> : attention_prepare<72>;
  launch(kernel, grid, dim3(kHeads * z.depth / 8), 0, stream, tensor_sizes(z), z.tokens, a, Workspace(z, a.workspace));
}

}  // namespace shardit::attention_device

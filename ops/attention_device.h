// Attention on the GPU: sizes, operands and launches, in plain pointers of device memory. Formulas: attention_tile.h.
//
// Three ways. On tensor cores, for bf16, depths of 64 and 72, 16 x 16 or 32 x 32 tokens: by warps (mma.sync, sm_80 on;
// attention_forward.cu, attention_backward.cu) or, on Hopper, by warpgroups (wgmma; attention_*_sm90.cu). All else,
// fp32 above all: plain kernels (attention_plain.cu), one block per row of logits, made to be right. Sums run in an
// order that the shape fixes; docs/attention.md has floors and tiles.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "core/dtype.h"
#include "core/host_device.h"
#include "core/shape.h"
#include "ops/attention.h"

namespace shardit::attention_device {

struct Sizes {
  int images, tokens, window, heads, depth;  // tokens = window^2; depth: channels of a head
  DType type;                                // kF32 or kBF16: qkv, qkv_time, bias, out and their gradients but dbias
  SHARDIT_HOST_DEVICE int channels() const { return heads * depth; }
  SHARDIT_HOST_DEVICE int table() const { return (2 * window - 1) * (2 * window - 1); }  // relative positions
};

// Of qkv (B, N, 3C).
inline Sizes sizes_of(const Shape& qkv, int heads, DType type) {
  const auto tokens = static_cast<int>(qkv[1]);
  return {static_cast<int>(qkv[0]),
          tokens,
          static_cast<int>(side_of(tokens)),
          heads,
          static_cast<int>(qkv[2] / 3 / heads),
          type};
}

struct Forward {
  const void *qkv, *qkv_time, *bias;  // (B, N, 3C), (B, 3C), ((2w-1)^2, H)
  void* out;                          // (B, N, C)
  float* lse;                         // (B, H, N)
};

struct Backward {
  const void *dout, *qkv, *qkv_time, *bias;  // dout (B, N, C)
  const float* lse;
  const void* out;
  void *dqkv, *dqkv_time;
  float* dbias;
  std::byte* workspace;  // Workspace::bytes
};

// The depths and windows with kernels on tensor cores.
inline bool on_tensor_cores(const Sizes& z) {
  return z.type == DType::kBF16 && (z.depth == 64 || z.depth == 72) && (z.window == 16 || z.window == 32);
}

// What the kernels of the backward pass leave for one another. There is room for each way that the shape may take;
// which one it is, only the device decides.
struct Workspace {
  static constexpr int kBlockRows = 128;  // queries, or keys, of a block on tensor cores: a few whole rows of the image

  // Tensor cores.
  BF16* query;        // (B, N, C): q + q_t; or see below
  float* statistics;  // (B, H, N, 2): lse log2(e) and delta of a query
  float* bias;        // (B, H, blocks, rows, 2w - 1): a block's sums of dl, by difference of image rows and columns
  float* time;        // (B, H, blocks, 2, D): a block's sums of dq / scale and of dout; or see below
  // Warpgroups, in place of query, statistics and time.
  static constexpr int kPartRows = 16, kTileRows = 64;
  BF16* tiles;  // (B, H, N / kTileRows, 2, D / 8 + 1, kTileRows, 8): q + q_t and dout as their tiles stand in shared
                // memory, with the columns that products add
  float* dout;  // (B, H, N / kPartRows, D): sums of dout
  float* dq;    // (runs, N D), in an order of its own: sums of dq / scale over the keys so far
  // Plain.
  float* delta;  // (B, H, N)
  float* sums;   // (B, H, N): of dl over the queries of a key

  int64_t bytes;

  Workspace(const Sizes& z, std::byte* begin) : bytes(0) {
    const bool tensor = on_tensor_cores(z);
    const int64_t heads = int64_t{z.images} * z.heads, rows = heads * z.tokens;
    const int64_t blocks = tensor ? heads * (z.tokens / kBlockRows) : 0;
    query = tiles = take<BF16>(begin, tensor ? 2 * rows * (z.depth + 8) : 0);
    statistics = take<float>(begin, tensor ? 2 * rows : 0);
    bias = take<float>(begin, blocks * bias_rows(z.window) * (2 * z.window - 1));
    time = take<float>(begin, blocks * 2 * z.depth);
    dout = take<float>(begin, tensor ? rows / kPartRows * z.depth : 0);
    dq = take<float>(begin, tensor ? runs(z) * z.tokens * z.depth : 0);
    delta = take<float>(begin, tensor ? 0 : rows);
    sums = take<float>(begin, tensor ? 0 : rows);
  }

  // A tile's place among `tiles`, of q + q_t; that of dout follows it. `head`: of all heads of all images.
  static constexpr int64_t tile_numbers(int depth) { return int64_t{kTileRows} * (depth + 8); }
  SHARDIT_HOST_DEVICE static int64_t tile(int64_t head, int row, int tokens, int depth) {
    return 2 * (head * (tokens / kTileRows) + row / kTileRows) * tile_numbers(depth);
  }

  // Differences of image rows, from a block's first query and the last key to its last query and the first key.
  SHARDIT_HOST_DEVICE static constexpr int bias_rows(int window) { return window + kBlockRows / window - 1; }

  // Heads of images at work at a time, one for each multiprocessor. A place of sums is used again for the next, so that
  // it stays in the second-level cache.
  static int64_t runs(const Sizes& z) {
    constexpr int64_t kMultiprocessors = 132;  // of the largest Hopper
    return std::min(int64_t{z.images} * z.heads, kMultiprocessors);
  }

 private:
  template <typename T> T* take(std::byte* begin, int64_t count) {
    T* const taken = reinterpret_cast<T*>(reinterpret_cast<uintptr_t>(begin) + static_cast<uintptr_t>(bytes));
    bytes += (count * static_cast<int64_t>(sizeof(T)) + 63) / 64 * 64;
    return taken;
  }
};

// ---- the ways ------------------------------------------------------------------------------------------------------

enum class Way { kPlain, kWarps, kWarpgroups };  // the latter two REQUIRE on_tensor_cores, the last one Hopper besides

// The faster way, by type, shape and the current device's compute capability alone.
Way forward_way(const Sizes& z);
Way backward_way(const Sizes& z);

// Pointers are aligned to 16 bytes. `stream`: a cudaStream_t.
void forward(const Sizes& z, const Forward& a, Way way, void* stream);
void backward(const Sizes& z, const Backward& a, Way way, void* stream);

void plain_forward(const Sizes& z, const Forward& a, void* stream);
void plain_backward(const Sizes& z, const Backward& a, void* stream);
void warp_forward(const Sizes& z, const Forward& a, void* stream);
void warp_backward(const Sizes& z, const Backward& a, void* stream);
void warpgroup_forward(const Sizes& z, const Forward& a, void* stream);
void warpgroup_backward(const Sizes& z, const Backward& a, void* stream);

}  // namespace shardit::attention_device

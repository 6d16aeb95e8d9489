// Attention on the GPU: sizes, operands and launches, in plain pointers of device memory. Formulas: attention_tile.h.
//
// Two ways, chosen by type and shape alone. Tensor cores (attention_forward.cu, attention_backward.cu): bf16, depths of
// 64 and 72, 16 x 16 or 32 x 32 tokens. All else, fp32 above all: a plain kernel (attention_plain.cu), one block per
// row, made to be right. Sums run in an order that the shape fixes; docs/attention.md has floors, tiles and workspace.
#pragma once

#include <cstdint>

#include "core/dtype.h"

namespace shardit::attention_cuda {

struct Sizes {
  int images, tokens, window, heads, depth;  // tokens = window^2; depth: channels of a head
  DType type;                                // kF32 or kBF16: qkv, qkv_time, bias, out and their gradients
  int channels() const { return heads * depth; }
  int table() const { return (2 * window - 1) * (2 * window - 1); }  // relative positions
};

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
  std::byte* workspace;  // backward_workspace() bytes, 16-byte aligned
};

void forward(const Sizes& z, const Forward& a, void* stream);
void backward(const Sizes& z, const Backward& a, void* stream);
int64_t backward_workspace(const Sizes& z);

}  // namespace shardit::attention_cuda

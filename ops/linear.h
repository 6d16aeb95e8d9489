// The three matrix products of a linear layer, shared by the plain and the fused cards and by both kinds of devices.
#pragma once

#include "core/op_card.h"
#include "ops/onednn.h"

namespace shardit {

// Each reads its sizes from the node's inputs; `out` is the type of the product.
Product linear_product(const NodeTypes& n, DType out);        // inputs x (…, K), w (M, K), maybe b (M)
Product linear_dgrad_product(const NodeTypes& n, DType out);  // inputs dy (…, M), w (M, K)
Product linear_wgrad_product(const NodeTypes& n);             // inputs dy (…, M), x (…, K)

// Tiles of y and dx: whole rows where there are many, also columns where there are few.
Grain row_grain(int64_t rows, int64_t columns);

// The scratch of one pool thread.
inline std::byte* scratch_of(const KernelArgs& k, const TiledProduct& product, int thread) {
  return k.workspace + thread * product.scratch_bytes();
}

// Shape rules and roles that the fused cards share.
Shape linear_shape(const NodeTypes& n);
Shape linear_dgrad_shape(const NodeTypes& n);
double linear_flops(const NodeTypes& n);  // of a product whose inputs are (…, M or K) and (M, K)

}  // namespace shardit

// The three matrix products of a linear layer, shared by the plain and the fused cards and by both kinds of devices.
#pragma once

#include "core/op_card.h"
#include "ops/tiled_product.h"

namespace shardit {

// Each reads its sizes from the node's inputs; `out` is the type of the product.
Product linear_product(const NodeTypes& n, DType out);        // inputs x (…, K), w (M, K), maybe b (M)
Product linear_dgrad_product(const NodeTypes& n, DType out);  // inputs dy (…, M), w (M, K)
Product linear_wgrad_product(const NodeTypes& n);             // inputs dy (…, M), x (…, K)

// Tiles of y and dx: whole rows where there are many, also columns where there are few.
Grain row_grain(int64_t rows, int64_t columns);

// A product and its cut.
struct Tiling {
  Product product;
  Grain grain;
};
Tiling dgrad_tiling(const NodeTypes& n);
Tiling wgrad_tiling(const NodeTypes& n);

// A card's `prepare` and `workspace`.
template <Tiling (*kTiling)(const NodeTypes&)> std::unique_ptr<Prepared> prepare_tiles(const NodeTypes& n) {
  const Tiling t = kTiling(n);
  return std::make_unique<TiledProduct>(t.product, t.grain);
}
template <Tiling (*kTiling)(const NodeTypes&)> int64_t tiles_workspace(const NodeTypes& n, int threads) {
  const Tiling t = kTiling(n);
  return TiledProduct(t.product, t.grain).workspace_bytes(threads);
}

// The third input of `linear`, or null.
inline const void* bias_of(const KernelArgs& k) { return k.in.size() > 2 ? k.in[2].data : nullptr; }

// Computes the product that prepare_tiles() made; then(tile) follows each tile, on its thread.
template <typename Then> void multiply(const KernelArgs& k, const ProductOperands& operands, const Then& then) {
  static_cast<const TiledProduct&>(*k.prepared).run(*k.pool, operands, k.workspace, then);
}
inline void multiply(const KernelArgs& k, const ProductOperands& operands) {
  multiply(k, operands, [](const MatrixTile&) {});
}

// The weight that a gradient is of.
struct WeightShapeAttrs : Attrs {
  Shape shape;
  std::string text() const override { return shape.str(); }
};

// Shape rules and costs that the fused cards share.
Shape linear_shape(const NodeTypes& n);
Shape linear_dgrad_shape(const NodeTypes& n);
Shape linear_wgrad_shape(const NodeTypes& n);
double linear_flops(const NodeTypes& n);  // of a product whose inputs are (…, M or K) and (M, K)
double linear_wgrad_flops(const NodeTypes& n);

}  // namespace shardit

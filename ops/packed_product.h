// Matrix products by a kernel of our own: of fp32, fp64, and of bf16 where the processor has no instructions for it.
//
// b is packed into panels as wide as the kernel's sums: once, for all tiles, or, where at most two rows of tiles share
// it, by each tile when it uses them. a is read where it is if its rows lie along k, else a tile packs its rows. bf16 is
// widened on the way. An element of c is one chain of fused multiply-adds along k, from zero, plus the bias, rounded
// once, before any epilogue: its bits depend on neither the cut nor the other elements, nor on the width of the
// machine's vectors.
#pragma once

#include <cstddef>

#include "ops/product.h"

namespace shardit {

class PackedProduct {
 public:
  // Tiles have at most the extents of `largest`, and begin at multiples of panel_columns().
  PackedProduct(const Product& product, const MatrixTile& largest);

  static int64_t panel_columns(DType dtype);  // of operands
  int64_t shared_bytes() const;               // the panels
  int64_t scratch_bytes() const;              // of each thread

  // Packs part i of b, 0 <= i < packs(). All must be packed before a tile runs.
  int64_t packs() const;
  void pack(int64_t i, const void* b, std::byte* shared) const;
  // Computes a tile of c. Pointers are to whole matrices. `next`: what this thread computes next, most likely; may be
  // the same.
  void run(const MatrixTile& tile, const MatrixTile& next, const ProductOperands& operands, const std::byte* shared,
           std::byte* scratch) const;

 private:
  Product product_;
  MatrixTile largest_;
  bool beforehand_;  // b is packed for all tiles; else each packs the panels it uses
};

}  // namespace shardit

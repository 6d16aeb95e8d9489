// A matrix product on the threads of a pool, cut into tiles: each is computed by one thread, in bf16 by the library
// where the processor has instructions for it, else by our kernel, whose bits depend on no processor.
//
// The cut is a function of the shape alone, so neither the thread count nor the load changes a bit.
#pragma once

#include <algorithm>
#include <memory>
#include <optional>

#include "core/op_card.h"
#include "core/pool.h"
#include "ops/onednn.h"
#include "ops/packed_product.h"

namespace shardit {

// How many rows and columns of c a tile has.
struct Grain {
  int64_t rows, columns;
};

// Whether a tile is our kernel's, packed_product.h.
bool is_packed(const Product& p);

class TiledProduct : public Prepared {
 public:
  TiledProduct(const Product& product, Grain grain);  // throws DeviceError
  ~TiledProduct() override;

  const Product& product() const { return product_; }
  int64_t tiles() const { return row_tiles_ * column_tiles_; }
  MatrixTile tile(int64_t i) const;
  int64_t workspace_bytes(int threads) const;

  // Computes c. Calls then(tile) after each tile, on its thread. Throws DeviceError.
  template <typename Then>
  void run(Pool& pool, const ProductOperands& operands, std::byte* workspace, const Then& then) const {
    if (packed_) pool.run(packed_->packs(), [&](int64_t i, int) { packed_->pack(i, operands.b, workspace); });
    pool.run(tiles(), [&](int64_t i, int thread) {
      const MatrixTile t = tile(i);
      run_tile(t, tile(std::min(i + pool.threads(), tiles() - 1)), operands, workspace, thread);
      then(t);
    });
  }

 private:
  void make_library_products();
  void run_tile(const MatrixTile& t, const MatrixTile& next, const ProductOperands& operands, std::byte* workspace,
                int thread) const;
  void run_library_tile(const MatrixTile& t, const ProductOperands& operands, std::byte* scratch) const;

  Product product_;
  Grain grain_;
  int64_t row_tiles_, column_tiles_;
  std::optional<PackedProduct> packed_;
  std::unique_ptr<LibraryProduct> library_[2][2];  // [the last, smaller row of tiles][the last, smaller column]
  int64_t shared_bytes_ = 0, scratch_bytes_ = 0;   // for all threads, and for each: whole pages
};

}  // namespace shardit

// Matrix products by oneDNN, cut into tiles: each tile is one single-threaded library call, made from a pool thread.
//
// The cut is a function of the shape alone, so neither the thread count nor the load changes a bit. fp32 and bf16
// operands go to the library (bf16 is accumulated in fp32; where the processor has no such product, fp32 copies of a
// tile's operands do); fp64, which only the sweep uses, is a plain loop.
#pragma once

#include <memory>

#include "core/op_card.h"
#include "ops/product.h"

namespace shardit {

// While one lives, this thread is inside a library, which may allocate as it likes.
struct LibraryScope {
  LibraryScope() { ++depth_; }
  ~LibraryScope() { --depth_; }
  LibraryScope(const LibraryScope&) = delete;
  static bool active() { return depth_ > 0; }

 private:
  static inline thread_local int depth_ = 0;
};

// How many rows and columns of c a tile has.
struct Grain {
  int64_t rows, columns;
};

struct MatrixTile {
  int64_t row, column, rows, columns;  // of c
};

class TiledProduct : public Prepared {
 public:
  TiledProduct(const Product& product, Grain grain);  // makes the library's primitives; throws DeviceError
  ~TiledProduct() override;

  int64_t tiles() const { return row_tiles_ * column_tiles_; }
  MatrixTile tile(int64_t i) const;
  int64_t scratch_bytes() const { return scratch_bytes_; }  // that each thread needs
  const Product& product() const { return product_; }

  // Computes tile i of c. Pointers are to whole matrices; `scratch` is this thread's. Throws DeviceError.
  void run(int64_t i, const void* a, const void* b, const void* bias, void* c, std::byte* scratch) const;

 private:
  struct Call;

  Product product_;
  Grain grain_;
  int64_t row_tiles_, column_tiles_;
  int64_t scratch_bytes_ = 0;
  std::unique_ptr<Call> calls_[2][2];  // [the last, smaller row of tiles][the last, smaller column]
};

}  // namespace shardit

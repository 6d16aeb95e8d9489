#include "ops/tiled_product.h"

#include <algorithm>

#include <glog/logging.h>

#include "ops/ahead.h"
#include "ops/epilogue.h"

namespace shardit {
namespace {

int64_t offset_of(const MatrixLayout& layout, int64_t row, int64_t column) {
  return (row * layout.row_stride + column * layout.column_stride) * static_cast<int64_t>(size_of(layout.dtype));
}

// Keeps the threads' scratch apart, and every part of it on a cache line.
int64_t whole_pages(int64_t bytes) {
  constexpr int64_t kPage = 4096;
  return tile_count(bytes, kPage) * kPage;
}

// Tiles of packed panels hold whole ones.
Grain grain_of(const Product& p, Grain grain) {
  const int64_t unit = is_packed(p) ? PackedProduct::panel_columns(p.a.dtype) : 1;
  return {grain.rows, tile_count(grain.columns, unit) * unit};
}

}  // namespace

bool is_packed(const Product& p) { return p.a.dtype != DType::kBF16 || !library_multiplies_bf16(); }

TiledProduct::TiledProduct(const Product& product, Grain grain)
    : product_(product),
      grain_(grain_of(product, grain)),
      row_tiles_(tile_count(product.m, grain_.rows)),
      column_tiles_(tile_count(product.n, grain_.columns)) {
  CHECK(grain.rows > 0 && grain.columns > 0) << text_of(product);
  CHECK(product.a.dtype == product.b.dtype) << text_of(product);
  if (is_packed(product)) {
    packed_.emplace(product, tile(0));
    shared_bytes_ = whole_pages(packed_->shared_bytes());
    scratch_bytes_ = whole_pages(packed_->scratch_bytes());
  } else {
    make_library_products();
  }
}

TiledProduct::~TiledProduct() = default;

void TiledProduct::make_library_products() {
  for (int64_t i : {int64_t{0}, tiles() - 1, column_tiles_ - 1, (row_tiles_ - 1) * column_tiles_}) {
    const MatrixTile t = tile(i);
    auto& made = library_[t.rows < grain_.rows][t.columns < grain_.columns];
    if (made) continue;
    Product part = product_;
    part.m = t.rows;
    part.n = t.columns;
    made = std::make_unique<LibraryProduct>(part);
    scratch_bytes_ = std::max(scratch_bytes_, whole_pages(made->scratch_bytes()));
  }
}

MatrixTile TiledProduct::tile(int64_t i) const {
  const Tile rows = tile_at(product_.m, grain_.rows, i / column_tiles_);
  const Tile columns = tile_at(product_.n, grain_.columns, i % column_tiles_);
  return {rows.begin, columns.begin, rows.end - rows.begin, columns.end - columns.begin};
}

int64_t TiledProduct::workspace_bytes(int threads) const { return shared_bytes_ + threads * scratch_bytes_; }

void TiledProduct::run_tile(const MatrixTile& t, const MatrixTile& next, const ProductOperands& operands,
                            std::byte* workspace, int thread) const {
  std::byte* const scratch = workspace + shared_bytes_ + thread * scratch_bytes_;
  packed_ ? packed_->run(t, next, operands, workspace, scratch) : run_library_tile(t, operands, scratch);
}

void TiledProduct::run_library_tile(const MatrixTile& t, const ProductOperands& o, std::byte* scratch) const {
  const Product& p = product_;
  const auto from = [](const void* matrix, int64_t offset) { return static_cast<const std::byte*>(matrix) + offset; };
  library_[t.rows < grain_.rows][t.columns < grain_.columns]->run(
      from(o.a, offset_of(p.a, t.row, 0)), from(o.b, offset_of(p.b, 0, t.column)),
      o.bias ? from(o.bias, t.column * static_cast<int64_t>(size_of(p.b.dtype))) : nullptr,
      static_cast<std::byte*>(product_of(p.epilogue, o)) + offset_of(p.c, t.row, t.column), scratch);
  if (p.epilogue == Epilogue::kNone) return;
  // Row by row: what is read beside the next one, which was not needed so far, comes meanwhile.
  visit_real(p.c.dtype, [&]<typename C>(C) {
    for (int64_t row = t.row; row < t.row + t.rows; ++row) {
      if (p.epilogue == Epilogue::kGeluGrad)
        ask_for(from(o.aside, offset_of(p.c, row + 1, t.column)), t.columns * int64_t{sizeof(C)});
      finish_product<C>(p, o, {row, t.column, 1, t.columns});
    }
  });
}

}  // namespace shardit

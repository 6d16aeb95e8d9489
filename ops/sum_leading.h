// What the kernels of sum_leading share: the order of its sums, and so its scratch.
#pragma once

#include <algorithm>
#include <cstdint>

#include "core/op_card.h"

namespace shardit::sum_leading_order {

// Rows are summed in blocks, then the blocks in order: an order that depends on the shape alone. Blocks are small, so
// that a GPU has many of them at work, but not so many that their own sums would weigh.
inline int64_t rows_of_block(int64_t rows) {
  constexpr int64_t kLeastRows = 32, kMostBlocks = 512;
  int64_t of_block = kLeastRows;
  while (tile_count(rows, of_block) > kMostBlocks) of_block *= 2;
  return of_block;
}

// Of the blocks' sums of x down to `columns` elements.
inline int64_t workspace(const Type& x, int64_t columns) {
  const int64_t rows = x.shape.numel() / std::max<int64_t>(columns, 1);
  return tile_count(rows, rows_of_block(rows)) * columns * static_cast<int64_t>(x.dtype == DType::kF64 ? 8 : 4);
}

}  // namespace shardit::sum_leading_order

// What the kernels of sum_leading share: the order of its sums, and so its scratch.
#pragma once

#include <algorithm>
#include <cstdint>

#include "core/op_card.h"

namespace shardit::sum_leading_order {

// Rows are summed in blocks of kRows, then the blocks in order: an order that depends on the shape alone. A GPU has a
// block in flight at once.
inline constexpr int64_t kRows = 32;

// Of the blocks' sums of x down to `columns` elements.
inline int64_t workspace(const Type& x, int64_t columns) {
  const int64_t rows = x.shape.numel() / std::max<int64_t>(columns, 1);
  return tile_count(rows, kRows) * columns * static_cast<int64_t>(x.dtype == DType::kF64 ? 8 : 4);
}

}  // namespace shardit::sum_leading_order

// What the kernels of sum_leading share: the order of its sums, and so its scratch.
#pragma once

#include <cstdint>

namespace shardit::sum_leading_order {

// Rows are summed in blocks of kRows, then the blocks in order: an order that depends on the shape alone.
inline constexpr int64_t kRows = 128;

}  // namespace shardit::sum_leading_order

// What follows a product on the CPU, on a part of c that is still in the cache. The product is rounded to its stored type
// first, as in the ops apart, so fusing changes no bit.
#pragma once

#include <cstdint>

#include "ops/gelu.h"
#include "ops/kernel.h"
#include "ops/product.h"

namespace shardit {

// Where the product itself goes.
inline void* product_of(Epilogue epilogue, const ProductOperands& o) {
  return epilogue == Epilogue::kGelu ? o.aside : o.c;
}

// The product becomes c: `rows` rows of `columns` elements of c and of what lies aside, `stride` elements from one row to
// the next.
template <typename C>
[[gnu::noinline]] void finish_product(Epilogue epilogue, int64_t rows, int64_t columns, int64_t stride,
                                      C* __restrict c, C* __restrict aside) {
  using S = Accum<C>;
  for (int64_t r = 0; r < rows; ++r, c += stride, aside += stride)
    if (epilogue == Epilogue::kGelu)
      for (int64_t i = 0; i < columns; ++i) c[i] = C(gelu_of(static_cast<S>(aside[i])));
    else
      for (int64_t i = 0; i < columns; ++i) c[i] = C(static_cast<S>(c[i]) * gelu_slope(static_cast<S>(aside[i])));
}

}  // namespace shardit

// What follows a product on the CPU, on a part of c that is still in the cache. The product is rounded to its stored
// type first, as in the ops apart, so fusing changes no bit.
#pragma once

#include <cstdint>

#include "ops/gelu.h"
#include "ops/kernel.h"
#include "ops/product.h"

namespace shardit {

// Where the product itself goes, and what its epilogue reads or writes besides, null where it has none.
inline void* product_of(Epilogue epilogue, const ProductOperands& o) {
  return epilogue == Epilogue::kGelu ? o.aside : o.c;
}
inline void* beside_product(Epilogue epilogue, const ProductOperands& o) {
  return epilogue == Epilogue::kGelu ? o.c : o.aside;
}

// Of loops, gcc makes vectors of half the registers' width where a processor has AVX-512. Among instructions of the
// full width, which join two of a core's units, they run at half the speed.
#if defined(__AVX512F__)
#define SHARDIT_FULL_VECTORS [[gnu::target("prefer-vector-width=512")]]
#else
#define SHARDIT_FULL_VECTORS
#endif

// The product is there: its epilogue makes that part of c. C: the type of c and of what lies aside.
template <typename C>
[[gnu::noinline]] SHARDIT_FULL_VECTORS void finish_product(const Product& p, const ProductOperands& o,
                                                           const MatrixTile& part) {
  using S = Accum<C>;
  if (p.epilogue == Epilogue::kNone) return;
  for (int64_t row = part.row; row < part.row + part.rows; ++row) {
    const int64_t first = row * p.c.row_stride + part.column;
    C* __restrict const c = static_cast<C*>(o.c) + first;
    const C* __restrict const z = static_cast<const C*>(o.aside) + first;
    if (p.epilogue == Epilogue::kGelu)
      for (int64_t i = 0; i < part.columns; ++i) c[i] = C(gelu_of(static_cast<S>(z[i])));
    else
      for (int64_t i = 0; i < part.columns; ++i) c[i] = C(static_cast<S>(c[i]) * gelu_slope(static_cast<S>(z[i])));
  }
}

}  // namespace shardit

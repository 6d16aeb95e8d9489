// Matrix products on a GPU by cuBLASLt: what ops/onednn.h is on the CPU.
//
// One product is one call, its algorithm chosen when the node is prepared: the one that a run was told to use, else the
// library's first. That depends on the sizes, the types, the kind of GPU and the library's version, never on memory
// that happens to be free or on timing; algorithms that would not give the same bits every time are not eligible. fp32
// and bf16 operands, sums in fp32; fp32 operands become TF32 only where a run says so.
#pragma once

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "core/op_card.h"
#include "ops/product.h"
#include "ops/product_choices.h"

namespace shardit {

// Scratch of every product, the most that an algorithm may ask for.
inline constexpr int64_t kProductWorkspaceBytes = int64_t{32} << 20;
inline int64_t device_product_workspace(const NodeTypes&) { return kProductWorkspaceBytes; }

// The widest access of any of the library's kernels, and what its epilogues ask of every address and row.
inline constexpr int64_t kWideAlignment = 16;  // bytes

inline bool is_wide(const ProductOperands& operands) {
  const auto fits = [](const void* p) { return reinterpret_cast<uintptr_t>(p) % kWideAlignment == 0; };
  return fits(operands.a) && fits(operands.b) && fits(operands.bias) && fits(operands.c) && fits(operands.aside);
}

// Whether the library may be given an epilogue for this product: bf16, for fp32 its GELU is not exact enough.
inline bool takes_epilogue(const Product& p) {
  const auto fits = [](const MatrixLayout& m) {
    return std::max(m.row_stride, m.column_stride) * static_cast<int64_t>(size_of(m.dtype)) % kWideAlignment == 0;
  };
  return p.a.dtype == DType::kBF16 && fits(p.a) && fits(p.b) && fits(p.c);
}

class DeviceProduct : public Prepared {
 public:
  // On the current device, as ProductsToldBy has it. Throws DeviceError, and UserError where the library refuses that.
  explicit DeviceProduct(const Product& product);
  ~DeviceProduct() override;

  // c = a b, plus the bias if the product has one. The scratch is aligned to 256 bytes, other addresses to their
  // elements, those of a product with an epilogue to kWideAlignment. Throws DeviceError if the call is refused.
  void run(const ProductOperands& operands, std::byte* workspace, void* stream) const;

  // For tuning, with operands aligned to kWideAlignment: eligible algorithms, the library's choice first, and the one
  // that run() uses from now on.
  std::vector<LibraryAlgorithm> answers(int most) const;
  void use(const LibraryAlgorithm& algorithm);

 private:
  struct Call;
  std::unique_ptr<Call> call_;
};

std::string describe(const LibraryAlgorithm& algorithm);  // "id 66, tile 24, …", by the library's numbers

// The product as BLAS says it, with columns contiguous: a row-major c is a column-major d = c^T = b^T a^T.
struct ColumnMajorProduct {
  struct Matrix {
    DType dtype;
    int64_t rows, columns, stride;  // as they lie in memory; elements between columns
    bool transposed;                // the product takes its transpose
  };
  Matrix left, right, d;  // of b, a and c
};

inline ColumnMajorProduct column_major(const Product& p) {
  const auto operand = [](const MatrixLayout& layout, int64_t rows, int64_t columns) -> ColumnMajorProduct::Matrix {
    if (layout.column_stride == 1) return {layout.dtype, columns, rows, layout.row_stride, false};
    return {layout.dtype, rows, columns, layout.column_stride, true};
  };
  return {operand(p.b, p.k, p.n), operand(p.a, p.m, p.k), operand(p.c, p.m, p.n)};
}

}  // namespace shardit

// cuBLASLt's part for device kernels on the CPU: the product as it is described to the library, by a plain loop.
#include <cmath>

#include "ops/cublaslt.h"
#include "ops/gelu.h"
#include "ops/kernel.h"

namespace shardit {
namespace {

float element(const ColumnMajorProduct::Matrix& m, const void* data, int64_t row, int64_t column) {
  const int64_t i = m.transposed ? column + row * m.stride : row + column * m.stride;
  return m.dtype == DType::kF32 ? static_cast<const float*>(data)[i] : static_cast<const BF16*>(data)[i];
}

}  // namespace

struct DeviceProduct::Call {
  Product product;
};

DeviceProduct::DeviceProduct(const Product& product)
    : call_(std::make_unique<Call>(Call{ProductsToldBy::as_told(product)})) {
  if (const ProductChoices* choices = ProductsToldBy::current()) choices->find(call_->product, kWideAlignment);
}
DeviceProduct::~DeviceProduct() = default;

void DeviceProduct::run(const ProductOperands& o, std::byte*, void*) const {
  const Product& p = call_->product;
  const ColumnMajorProduct blas = column_major(p);
  visit_real(p.c.dtype, [&]<typename C>(C) {
    C *c = static_cast<C*>(o.c), *aside = static_cast<C*>(o.aside);
    for (int64_t column = 0; column < blas.d.columns; ++column)
      for (int64_t row = 0; row < blas.d.rows; ++row) {
        float sum = 0;
        for (int64_t l = 0; l < p.k; ++l)
          sum = std::fma(element(blas.left, o.b, row, l), element(blas.right, o.a, l, column), sum);
        if (p.bias) sum += element({p.b.dtype, p.n, 1, p.n, false}, o.bias, row, 0);
        const int64_t at = row + column * blas.d.stride;
        if (p.epilogue == Epilogue::kGelu) aside[at] = C(sum);
        if (p.epilogue == Epilogue::kGelu) sum = gelu_of(sum);
        if (p.epilogue == Epilogue::kGeluGrad) sum *= gelu_slope(static_cast<float>(aside[at]));
        c[at] = C(sum);
      }
  });
}

}  // namespace shardit

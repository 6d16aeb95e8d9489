// A matrix product as the ops describe it to a kernel or a library, of the CPU or of a GPU.
#pragma once

#include <string>

#include "core/dtype.h"

namespace shardit {

// A matrix in memory, possibly transposed: elements between rows and between columns.
struct MatrixLayout {
  DType dtype = DType::kF32;
  int64_t row_stride = 0, column_stride = 1;
};

// What is done to a product on its way to c, with a matrix of c's layout aside.
enum class Epilogue : uint8_t {
  kNone,
  kGelu,     // c = gelu(z), and z is written aside
  kGeluGrad  // c = the product times GELU's slope at z, which is read
};

// c (m, n) = a (m, k) b (k, n), plus a bias (n) of b's type to every row.
struct Product {
  int64_t m = 0, n = 0, k = 0;
  MatrixLayout a, b, c;
  bool bias = false;
  Epilogue epilogue = Epilogue::kNone;
  bool tf32 = false;  // a GPU rounds fp32 operands to TF32, 10 bits of mantissa, as it multiplies
};

// What a product reads and writes. The bias is null where it has none, `aside` where it has no epilogue.
struct ProductOperands {
  const void *a, *b, *bias;
  void* c;
  void* aside = nullptr;
};

// A part of c.
struct MatrixTile {
  int64_t row = 0, column = 0, rows = 0, columns = 0;
};

// "(8192 x 1152) (1152 x 4608) in bf16", for errors.
inline std::string text_of(const Product& p) {
  return "(" + std::to_string(p.m) + " x " + std::to_string(p.k) + ") (" + std::to_string(p.k) + " x " +
         std::to_string(p.n) + ") in " + (p.tf32 ? "tf32" : name_of(p.a.dtype));
}

}  // namespace shardit

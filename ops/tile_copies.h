// Copies of a tile's operands in fp32, for products that the library makes not at all, or slowly, of the operands as
// they lie.
//
//   bf16, on a processor for which the library has no bf16 product (it wants AVX-512): the products of two bf16 numbers
//   are exact in fp32 either way, sums are fp32, and c is rounded once.
//   Operands whose lines are each one k, for the library's AVX2 kernels, which pack a few elements of every line at a
//   time. An a is copied transposed: it then packs along k, 15 to 30 % faster whatever the stride. A b is copied where
//   its lines begin a multiple of a page apart: they share one set of the first-level cache, so each is read again for
//   the next few, at 30 GFLOP/s instead of 80.
#pragma once

#include <cstddef>
#include <optional>

#include "ops/product.h"

namespace shardit {

// What the library does well on this processor.
struct LibrarySkills {
  bool bf16 = true;      // has products of bf16
  bool across_k = true;  // packs lines across k as fast as lines along it
};

// A copy of a part of a matrix: lines of contiguous elements, whose beginnings share no set of the cache.
class OperandCopy {
 public:
  enum class Lines { kAsTheyAre, kTransposed };
  OperandCopy(int64_t rows, int64_t columns, const MatrixLayout& original, Lines lines = Lines::kAsTheyAre);

  const MatrixLayout& layout() const { return layout_; }
  int64_t bytes() const;
  void read(const std::byte* from, std::byte* to) const;   // the original's first element, the copy
  void write(const std::byte* from, std::byte* to) const;  // the copy, the original's first element; as they are

 private:
  template <typename T> void read_lines(const T* from, float* to) const;
  template <typename T> void read_transposed(const T* from, float* to) const;

  DType dtype_;
  bool transposed_;
  int64_t lines_, length_, stride_;  // of the original
  int64_t copied_stride_;
  MatrixLayout layout_;
};

class TileCopies {
 public:
  TileCopies(const Product& tile, const LibrarySkills& skills);

  const Product& product() const { return product_; }  // as the library gets it
  int64_t bytes() const;                               // of scratch

  // Calls multiply(a, b, bias, c) on what it gets.
  template <typename F>
  void run(const std::byte* a, const std::byte* b, const std::byte* bias, std::byte* c, std::byte* scratch,
           F&& multiply) const {
    const auto read = [&](const std::optional<OperandCopy>& copy, const std::byte* original) {
      if (!copy || !original) return original;
      std::byte* to = scratch;
      copy->read(original, to);
      scratch += copy->bytes();
      return static_cast<const std::byte*>(to);
    };
    const std::byte *copied_a = read(a_, a), *copied_b = read(b_, b), *copied_bias = read(bias_, bias);
    multiply(copied_a, copied_b, copied_bias, c_ ? scratch : c);
    if (c_) c_->write(scratch, c);
  }

 private:
  Product product_;
  std::optional<OperandCopy> a_, b_, bias_, c_;
};

}  // namespace shardit

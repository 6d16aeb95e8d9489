// One matrix product of bf16 operands by oneDNN, on the calling thread; sums are fp32.
#pragma once

#include <cstddef>
#include <memory>

#include "ops/product.h"

namespace shardit {

// While one lives, this thread is inside a library, which may allocate as it likes.
struct LibraryScope {
  LibraryScope() { ++depth_; }
  ~LibraryScope() { --depth_; }
  LibraryScope(const LibraryScope&) = delete;
  static bool active() { return depth_ > 0; }

 private:
  static inline thread_local int depth_ = 0;
};

// Whether this processor has instructions for bf16 products, and the library uses them.
bool library_multiplies_bf16();

class LibraryProduct {
 public:
  explicit LibraryProduct(const Product& product);  // throws DeviceError
  ~LibraryProduct();

  int64_t scratch_bytes() const { return scratch_bytes_; }

  // `bias` is null where the product has none. Throws DeviceError.
  void run(const void* a, const void* b, const void* bias, void* c, std::byte* scratch) const;

 private:
  struct Primitive;

  Product product_;
  std::unique_ptr<Primitive> primitive_;
  int64_t scratch_bytes_ = 0;
};

}  // namespace shardit

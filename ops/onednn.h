// One matrix product by oneDNN, on the calling thread: fp32 or bf16 operands, sums in fp32.
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

// Whether its kernels are the ones to take on this processor. They are where it has AVX-512; below that the library has
// no bf16 product, and in fp32 a slower one than ours (packed_product.h).
bool library_multiplies_fast();

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

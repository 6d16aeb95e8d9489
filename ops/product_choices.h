// Which algorithm a GPU's library is told to compute a product with, in place of the one it would choose itself, and
// how a tuning run picks it.
#pragma once

#include <array>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "ops/product.h"

namespace shardit {

// The library's own description of how it computes: good for one version of it on one kind of GPU.
using LibraryAlgorithm = std::array<uint8_t, 64>;

// All that an algorithm depends on beside the GPU and the library: "8192x3456x1152 bf16:1152:1 bf16:1:1152 bf16:3456:1
// bias gelu align 16" is m x n x k; type, row and column stride of a, b and c; the epilogue; to how many bytes operands
// are aligned (0: to their elements).
std::string key_of(const Product& product, int64_t alignment);

class ProductChoices {
 public:
  virtual ~ProductChoices() = default;
  // Null: the library chooses. Several threads may ask at once.
  virtual const LibraryAlgorithm* find(const Product& product, int64_t alignment) const = 0;
};

// While one lives, products that its thread prepares are made as these say; null: as the library chooses. tf32: those
// of fp32 operands by way of TF32.
class ProductsToldBy {
 public:
  explicit ProductsToldBy(const ProductChoices* choices, bool tf32 = false);
  ~ProductsToldBy();
  ProductsToldBy(const ProductsToldBy&) = delete;
  static const ProductChoices* current();
  static Product as_told(Product product);

 private:
  const ProductChoices* choices_before_;
  bool tf32_before_;
};

// Of times per algorithm, the first one the library's choice: the indices of the `count` shortest and of the first,
// ascending.
std::vector<size_t> shortest(std::span<const double> us, size_t count);

// The fastest algorithm whose bits repeat; the first one unless another saves 1 %, which noise does. `repeats` is asked
// of the fastest first, and of no more than needed. Nothing where none repeats.
std::optional<size_t> pick(std::span<const double> us, const std::function<bool(size_t)>& repeats);

}  // namespace shardit

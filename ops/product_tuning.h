// Finds the library's fastest algorithm for a product on the current GPU, by timing. A program that links the device
// kernels has these functions; in others they are null.
#pragma once

#include <optional>
#include <string>

#include "ops/product_choices.h"

namespace shardit {

[[gnu::weak]] std::string cublaslt_version();  // "13.1.0"

struct TunedProduct {
  std::string key;                            // key_of the product, operands aligned to kWideAlignment
  std::optional<LibraryAlgorithm> algorithm;  // nothing: none repeats its bits
  std::string about;                          // it, in words
  int tried = 0;                              // algorithms that the library offered and our rules admit
  int unrepeatable = 0;                       // faster ones whose bits did not repeat
  double first_us = 0, best_us = 0;           // of the library's first, and of `algorithm`
};

// Operands of its own, with made-up values, read from memory and not from the cache. Whatever is slower than the best
// few after a look is left out; these are timed in turn, and the fastest must give one bit pattern in 100 runs beside a
// busy second stream. Throws DeviceError.
[[gnu::weak]] TunedProduct tune_product(const Product& product);

}  // namespace shardit

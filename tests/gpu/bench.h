// How fast device kernels are at the sizes of DiffiT-XL/2, beside the memory's own speed.
#pragma once

#include <string>
#include <vector>

namespace shardit {

struct BenchResult {
  std::string name;
  double bytes = 0;         // by the card's cost: each operand once
  double milliseconds = 0;  // median of a launch
  double bytes_per_second() const { return bytes / milliseconds * 1e3; }
};

// The first result is a copy from device to device by the runtime, read and written bytes counted: what the others are
// measured against.
std::vector<BenchResult> bench_device_kernels();

struct ProductResult {
  std::string name;
  double flops = 0;         // of the product, by the card's cost
  double milliseconds = 0;  // median of a launch, GELU included where the card has it
  double error = 0;         // of some elements against fp64, relative to the largest of them
  double bound = 0;         // what the error may be: rounding to bf16, or sums in fp32
  bool repeats = true;      // the same bits in every run, a second stream being busy
  bool is_right() const { return error <= bound && repeats; }
  double flops_per_second() const { return flops / milliseconds * 1e3; }
};

// Linear layers of DiffiT-XL/2 in bf16. The first result is the fastest of the three products of a square layer with
// 8,192 features and rows: what the library can do on this GPU, on random numbers, in the same run.
std::vector<ProductResult> bench_products();

}  // namespace shardit

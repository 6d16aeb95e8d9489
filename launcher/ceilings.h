// What a device gives at best, measured here and now with the threads that a run has: matrix products of the library,
// and copies. What single ops and whole steps are held against.
#pragma once

#include <string>
#include <vector>

#include "core/device.h"
#include "launcher/metrics.h"

namespace shardit {

// The shortest time that work of some cost can take, and what bounds it.
struct Floor {
  enum class Limit { kFlops, kBytes };
  double ms = 0;
  Limit limit = Limit::kBytes;
};

const char* name_of(Floor::Limit limit);  // "flops", "bytes"

struct Ceilings {
  // Copies that find their operands where the one before left them: in a cache, up to its size.
  struct Copy {
    double bytes = 0;  // read and written
    double bytes_per_s = 0;
  };

  bool tf32 = false;                                  // fp32 operands are multiplied by way of TF32
  double fp32_flops_per_s = 0, bf16_flops_per_s = 0;  // of products
  std::vector<Copy> copies;                           // from the smallest on

  double flops_per_s(DType products) const { return products == DType::kBF16 ? bf16_flops_per_s : fp32_flops_per_s; }
  // Of the largest copy that is not larger.
  double bytes_per_s(double bytes) const;

  // Products of operands of this type at the library's speed, other arithmetic at that of fp32 products, and bytes as
  // if copied; both at once.
  Floor floor(const Cost& cost, DType products) const;
};

// Single ones: a second or less on the CPU.
double measure_products(Device& device, int threads, DType dtype);        // flops per second
Ceilings::Copy measure_copy(Device& device, int threads, int64_t bytes);  // read and written together
// Of several sizes, and both types: a few seconds on the CPU. All of a job's ranks at once measure what each of them
// has.
Ceilings measure_ceilings(Device& device, int threads, bool tf32);

// NVIDIA's figure for dense bf16 products on a GPU of this name; 0: not known.
double stated_bf16_flops(const std::string& model);

Json to_json(const Ceilings& ceilings);
// "products 41.0 GFLOP/s in fp32, 38.2 in bf16; copies 9.3 GB/s of 256 MiB, 31.0 of 1.00 MiB"
std::string text_of(const Ceilings& ceilings);

}  // namespace shardit

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

}  // namespace shardit

// What a program is compiled for: planning needs to know it, before there is a device.
#pragma once

#include <cstdint>
#include <string>

namespace shardit {

// Whose kernels of a card run, with their scratch and prepared state.
enum class Kernels : uint8_t { kCpu, kCuda };

struct Target {
  Target(int threads = 1) : threads(threads) {}  // the CPU

  Kernels kernels = Kernels::kCpu;
  int threads;  // compute threads per rank, which scale the scratch of some CPU kernels
  // Which named buffers have a copy in host memory, through which the host fills and reads them. Null where the host
  // reaches the device's memory: it then uses the buffers themselves.
  bool (*copied_on_host)(const std::string& buffer) = nullptr;
};

}  // namespace shardit

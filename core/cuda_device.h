// NVIDIA GPUs. A program that links the device kernels has these functions; in others they are null.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>

#include "core/device.h"

namespace shardit {

struct Gpu {
  std::string name;
  int64_t memory_bytes = 0, free_bytes = 0;
  int compute_capability = 0;  // 90: sm_90
  std::string driver;          // the CUDA version that it supports, "13.0"
};

// Throws DeviceError where there is no driver, or one that CUDA cannot use.
[[gnu::weak]] int count_gpus();
// 16 bytes that no other GPU has. `gpu`: the number that CUDA has for it in this process.
[[gnu::weak]] std::array<char, 16> gpu_id(int gpu);
[[gnu::weak]] std::string gpu_pci(int gpu);  // its place on the PCI bus, as Linux and NVML write it: "0000:3b:00.0"
[[gnu::weak]] Gpu look_at_gpu(int gpu);      // begins to use it, which takes some of its memory

// Throws DeviceError if CUDA cannot use that GPU.
[[gnu::weak]] std::unique_ptr<Device> make_cuda_device(int gpu);

inline bool built_with_cuda() { return make_cuda_device != nullptr; }

}  // namespace shardit

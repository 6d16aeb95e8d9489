// A GPU's memory for kernels under test: one allocation, handed out from its start; it starts over when all that was
// handed out has been released.
#pragma once

#include "core/cuda_error.h"
#include "tests/ops/device_nodes.h"

namespace shardit {

class DeviceArena : public KernelMemory {
 public:
  explicit DeviceArena(size_t bytes) : bytes_(bytes) {
    SHARDIT_CUDA(cudaMalloc(reinterpret_cast<void**>(&base_), bytes));
  }
  ~DeviceArena() override { cudaFree(base_); }
  DeviceArena(const DeviceArena&) = delete;

  std::byte* allocate(size_t bytes) override {
    const size_t rounded = (bytes + 255) / 256 * 256;
    if (used_ + rounded > bytes_) throw DeviceError("the arena of " + std::to_string(bytes_) + " bytes is full");
    std::byte* memory = base_ + used_;
    used_ += rounded;
    ++live_;
    return memory;
  }
  void release(std::byte*) override {
    if (--live_ == 0) used_ = 0;
  }
  void rewind(std::byte* to) { used_ = static_cast<size_t>(to - base_); }  // what lies behind `to` is free
  void copy_in(std::byte* to, const std::byte* from, size_t bytes) override {
    SHARDIT_CUDA(cudaMemcpy(to, from, bytes, cudaMemcpyDefault));
  }
  void wait() override { SHARDIT_CUDA(cudaDeviceSynchronize()); }
  void copy_out(std::byte* to, const std::byte* from, size_t bytes) override {
    SHARDIT_CUDA(cudaMemcpy(to, from, bytes, cudaMemcpyDefault));
  }

 private:
  std::byte* base_ = nullptr;
  size_t bytes_, used_ = 0;
  int live_ = 0;
};

}  // namespace shardit

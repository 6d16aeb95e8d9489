// What a GPU says of itself while it computes: power, heat, clock, and what slows it. By NVIDIA's management library
// (NVML), which comes with the driver and is loaded when somebody asks.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace shardit {

// Plain bytes. A number that the GPU does not tell is negative. Of a part of a GPU (MIG): what the whole GPU says.
struct GpuReading {
  double watts = -1, celsius = -1, sm_mhz = -1;
  uint64_t throttle = 0;  // reasons why the clock is lower than it might be, as bits of NVML

  bool told() const { return watts >= 0 || celsius >= 0 || sm_mhz >= 0; }
};

// Their names in NVML, without its prefix: "sw_power_cap". That a GPU idles is none.
std::vector<std::string> throttle_reasons(uint64_t bits);

class GpuGauge {
 public:
  // `pci`: the GPU's place on the bus, as gpu_pci() names it (core/cuda_device.h), since NVML counts GPUs in another
  // order than CUDA. Throws DeviceError where NVML is missing, does not work, or does not know that GPU.
  explicit GpuGauge(const std::string& pci);

  // Takes NVML up to some milliseconds, so it is asked once a second at most: between, the last answer is given again.
  GpuReading read();

 private:
  void* device_ = nullptr;  // NVML's
  GpuReading last_;
  int64_t read_ns_ = 0;
};

}  // namespace shardit

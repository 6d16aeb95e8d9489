// Which device a run computes on, and what programs for it are compiled for.
#pragma once

#include <memory>
#include <string>

#include "core/device.h"

namespace shardit {

struct RunDevice {
  std::unique_ptr<Device> device;
  std::string note;  // why "auto" took the CPU, in a build with CUDA; for the log
};

// `wanted`: auto (a GPU if there is one, else the CPU), cpu or cuda: the first GPU that CUDA shows to this process.
// Throws UserError for cuda in a build without it or in a job of several ranks, DeviceError where there is no GPU.
RunDevice open_device(const std::string& wanted, int ranks);

Target target_of(const Device& device, int threads);
// Before there is a device: for cuda that of a GPU, else the CPU's.
Target planned_target(const std::string& wanted, int threads);

// What the host fills or reads whole on a device whose memory it does not reach: batches and the state of a run.
bool copied_on_host(const std::string& buffer);

// "cpu", "cuda NVIDIA H200, sm_90, CUDA 13.0"
std::string full_name(const Device& device);

}  // namespace shardit

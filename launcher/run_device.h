// Which device a run computes on, and what programs for it are compiled for.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/device.h"
#include "dist/mesh.h"
#include "launcher/ranks.h"

namespace shardit {

struct RunDevice {
  std::unique_ptr<Device> device;
  // For the log: which GPU each rank took and which CPUs it keeps to, or why "auto" took the CPU in a build with CUDA.
  std::vector<std::string> notes;
  int sharers = 1;  // ranks on the GPU, this one among them
  std::string pci;  // where the GPU is on its bus (gpu_pci in core/cuda_device.h); empty for a CPU
};

// `wanted`: auto (GPUs if there are any, else the CPU), cpu or cuda. Collective: each rank gets a GPU of those that
// CUDA shows to its process (dist/gpu_places.h), and keeps the calling thread and those that it starts later to the
// CPUs near it (launcher/cpu_place.h): threads that shall stay there, and memory that shall lie there, are made
// afterwards. Throws UserError for cuda in a build without it and for more ranks than GPUs; DeviceError where there is
// no GPU, or not the same number on all ranks.
RunDevice open_device(const std::string& wanted, Ranks& ranks);
// The same without company: the first GPU.
RunDevice open_device(const std::string& wanted);

// The mesh's groups get communicators for the memory of GPUs, where that is what the ranks compute on. Collective.
// Throws UserError in a build without NCCL, and what connect_gpus does (dist/nccl_wire.h).
void connect_devices(Ranks& ranks, Mesh& mesh, Device& device);

Target target_of(const Device& device, int threads);
// Before there is a device: for cuda that of a GPU, else the CPU's.
Target planned_target(const std::string& wanted, int threads);

// What the host fills or reads whole on a device whose memory it does not reach: batches and the state of a run.
bool copied_on_host(const std::string& buffer);

// "cpu", "cuda NVIDIA H200, sm_90, CUDA 13.0"
std::string full_name(const Device& device);

}  // namespace shardit

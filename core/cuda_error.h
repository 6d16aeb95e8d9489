// Calls of the CUDA runtime whose failure throws DeviceError with the call and what CUDA says of it.
#pragma once

#include <cuda_runtime.h>

#include <string>

#include "core/error.h"

namespace shardit {

inline void check_cuda(cudaError_t result, const char* call) {
  if (result == cudaSuccess) return;
  throw DeviceError(std::string(call) + ": " + cudaGetErrorName(result) + ", " + cudaGetErrorString(result));
}

#define SHARDIT_CUDA(call) ::shardit::check_cuda((call), #call)

}  // namespace shardit

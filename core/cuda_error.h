// Calls of the CUDA runtime whose failure throws DeviceError with the call and what CUDA says of it.
#pragma once

#include <cuda_runtime.h>

#include <string>

#include "core/error.h"

namespace shardit {

inline void check_cuda(cudaError_t result, const char* call) {
  if (result == cudaSuccess) return;
  const bool not_built_for_it = result == cudaErrorNoKernelImageForDevice || result == cudaErrorUnsupportedPtxVersion;
  throw DeviceError(std::string(call) + ": " + cudaGetErrorName(result) + ", " + cudaGetErrorString(result) +
                    (not_built_for_it ? "\nthis program has no code for this GPU: build it with CMAKE_FLAGS="
                                        "-DSHARDIT_CUDA_ARCHITECTURES= its compute capability without the dot, as in 80"
                                      : ""));
}

#define SHARDIT_CUDA(call) ::shardit::check_cuda((call), #call)

}  // namespace shardit

// What dist/nccl_wire.cc calls of CUDA and of the device, on the host: a double for tests, since there is no GPU.
#include <cuda_runtime.h>

#include <atomic>
#include <cstdlib>

#include "dist/call_mark.h"

extern "C" {
cudaError_t cudaMallocHost(void** memory, size_t bytes) { return *memory = std::malloc(bytes), cudaSuccess; }
cudaError_t cudaFreeHost(void* memory) { return std::free(memory), cudaSuccess; }
const char* cudaGetErrorName(cudaError_t) { return "an error"; }
const char* cudaGetErrorString(cudaError_t) { return "an error"; }
}

namespace shardit {

void mark_call(uint64_t* marks, void*) { std::atomic_ref(*marks).fetch_add(1); }

}  // namespace shardit

// The language of our device kernels (*.cu): CUDA C++ where nvcc compiles, and the same on the CPU, by core/simt, where
// another compiler does. A kernel names what differs between the two by this header's words:
//
//   SHARDIT_SHARED(float, partial, [32]);         a static shared array (poisoned per block on the CPU)
//   SHARDIT_DYNAMIC_SHARED(float, row);           the launch's dynamic shared memory
//   launch(kernel, grid, block, bytes, stream, arguments…);
//
// Inline PTX stands in core/ptx*.h. Kernels are compiled without contraction of products and sums: fma is written out.
#pragma once

#include <cstdint>
#include <tuple>
#include <utility>

#if defined(__CUDACC__)
#include "core/cuda_error.h"

#define SHARDIT_SHARED(type, name, extent) __shared__ type name extent
// All kernels of a file share one symbol, so its type is neutral.
#define SHARDIT_DYNAMIC_SHARED(type, name)                       \
  extern __shared__ __align__(128) unsigned char simt_dynamic[]; \
  type* name = reinterpret_cast<type*>(simt_dynamic)

namespace shardit {

// Runs kernel(args…) on `stream` (a cudaStream_t). Throws DeviceError if the launch is refused; what fails while the
// kernel runs is seen by the next call that waits for it.
template <typename... P, typename... A>
void launch(void (*kernel)(P...), dim3 grid, dim3 block, size_t shared_bytes, void* stream, A... args) {
  constexpr size_t kWithoutAsking = 48 * 1024;
  const auto* function = reinterpret_cast<const void*>(kernel);
  if (shared_bytes > kWithoutAsking)
    SHARDIT_CUDA(
        cudaFuncSetAttribute(function, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared_bytes)));
  std::tuple<P...> values(static_cast<P>(args)...);
  std::apply(
      [&](P&... value) {
        void* pointers[] = {const_cast<void*>(static_cast<const void*>(&value))...};
        SHARDIT_CUDA(
            cudaLaunchKernel(function, grid, block, pointers, shared_bytes, static_cast<cudaStream_t>(stream)));
      },
      values);
}

// Whether the current device has Hopper's warpgroup-wide matrix instructions, which no other generation runs.
inline bool has_warpgroup_products() {
  int device, major;
  SHARDIT_CUDA(cudaGetDevice(&device));
  SHARDIT_CUDA(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device));
  return major == 9;
}

// Of the current device: how many blocks run at a time that fill a multiprocessor each.
inline int multiprocessors() {
  int device, count;
  SHARDIT_CUDA(cudaGetDevice(&device));
  SHARDIT_CUDA(cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, device));
  return count;
}

// Copies bytes of the host to the device; `from` may change once this returns. Not for graphs that are captured.
inline void upload(void* to, const void* from, size_t bytes, void* stream) {
  SHARDIT_CUDA(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, static_cast<cudaStream_t>(stream)));
  SHARDIT_CUDA(cudaStreamSynchronize(static_cast<cudaStream_t>(stream)));
}

}  // namespace shardit

#else
#include "core/simt/simt.h"

#define SHARDIT_SHARED(type, name, extent) auto& name = ::shardit::simt::shared_variable<type extent>([] {})
#define SHARDIT_DYNAMIC_SHARED(type, name) type* name = static_cast<type*>(::shardit::simt::dynamic_shared())

namespace shardit {

template <typename... P, typename... A>
void launch(void (*kernel)(P...), dim3 grid, dim3 block, size_t shared_bytes, void*, A... args) {
  simt::run(grid, block, shared_bytes, [&] { kernel(static_cast<P>(args)...); });
}

inline bool has_warpgroup_products() { return true; }  // in twins
inline int multiprocessors() { return 2; }

inline void upload(void* to, const void* from, size_t bytes, void*) { std::memcpy(to, from, bytes); }

}  // namespace shardit
#endif

// Functions that the CPU and the GPU compile from one source.
#pragma once

#if defined(__CUDACC__)
#define SHARDIT_HOST_DEVICE __host__ __device__ inline
#else
#define SHARDIT_HOST_DEVICE inline
#endif

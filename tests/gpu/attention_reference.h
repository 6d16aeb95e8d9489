// Attention in fp64 on the GPU, all heads of one image at a time, with p and dl in memory: what the kernels' results
// are compared with.
#pragma once

#include <cstdint>

#include "core/cuda.h"
#include "ops/attention_device.h"

namespace shardit {

using attention_device::Sizes;

struct Problem {
  Sizes z;
  const void *qkv, *time, *bias, *dout;
};

struct Reference {
  double *p, *dl;  // (H, N, N) of one image
  double *out, *lse, *dqkv, *dtime, *dbias;
};

template <typename T> struct Image {
  Sizes z;
  int image, head;
  const Problem& problem;
  __device__ double qkv(int token, int third, int c) const {
    return static_cast<float>(static_cast<const T*>(
        problem.qkv)[((int64_t{image} * z.tokens + token) * 3 + third) * z.channels() + head * z.depth + c]);
  }
  __device__ double time(int third, int c) const {
    return static_cast<float>(
        static_cast<const T*>(problem.time)[(int64_t{image} * 3 + third) * z.channels() + head * z.depth + c]);
  }
  __device__ int64_t out_at(int token, int c) const {
    return (int64_t{image} * z.tokens + token) * z.channels() + head * z.depth + c;
  }
  __device__ double dout(int token, int c) const {
    return static_cast<float>(static_cast<const T*>(problem.dout)[out_at(token, c)]);
  }
  __device__ int64_t entry(int i, int j) const {
    const int w = z.window;
    return (int64_t{i / w - j / w + w - 1} * (2 * w - 1) + i % w - j % w + w - 1) * z.heads + head;
  }
};

__device__ double sum_of_block(double x) {
  SHARDIT_SHARED(double, shared, [128]);
  __syncthreads();
  shared[threadIdx.x] = x;
  __syncthreads();
  for (int apart = 64; apart > 0; apart /= 2) {
    if (threadIdx.x < apart) shared[threadIdx.x] += shared[threadIdx.x + apart];
    __syncthreads();
  }
  return shared[0];
}

// p and dl of one query; out, lse, dq.
template <typename T> __global__ void reference_rows(Problem problem, Reference r, int image) {
  const Sizes& z = problem.z;
  const int i = blockIdx.x, head = blockIdx.y, n = z.tokens;
  const Image<T> at{z, image, head, problem};
  double *p = r.p + (int64_t{head} * n + i) * n, *dl = r.dl + (int64_t{head} * n + i) * n;
  const double scale = 1 / sqrt(static_cast<double>(z.depth));
  double sum = 0, delta = 0;
  for (int j = threadIdx.x; j < n; j += 128) {  // logits of these inputs stay below 100: no maximum is needed
    double dot = 0, dp = 0;
    for (int c = 0; c < z.depth; ++c) dot += (at.qkv(i, 0, c) + at.time(0, c)) * at.qkv(j, 1, c);
    for (int c = 0; c < z.depth; ++c) dp += at.dout(i, c) * at.qkv(j, 2, c);
    const double bias = static_cast<float>(static_cast<const T*>(problem.bias)[at.entry(i, j)]);
    sum += p[j] = exp(dot * scale + bias);
    dl[j] = dp;
  }
  sum = sum_of_block(sum);
  for (int j = threadIdx.x; j < n; j += 128) delta += (p[j] /= sum) * dl[j];
  delta = sum_of_block(delta);
  for (int j = threadIdx.x; j < n; j += 128) dl[j] = p[j] * (dl[j] - delta);
  if (threadIdx.x == 0) r.lse[(int64_t{image} * z.heads + head) * n + i] = log(sum);
  __syncthreads();
  for (int c = threadIdx.x; c < z.depth; c += 128) {
    double out = 0, dq = 0;
    for (int j = 0; j < n; ++j) out += p[j] * at.qkv(j, 2, c), dq += dl[j] * at.qkv(j, 1, c);
    r.out[at.out_at(i, c)] = out + at.time(2, c);
    r.dqkv[(int64_t{image} * n + i) * 3 * z.channels() + head * z.depth + c] = dq * scale;
  }
}

// dk and dv of one key.
template <typename T> __global__ void reference_columns(Problem problem, Reference r, int image) {
  const Sizes& z = problem.z;
  const int j = blockIdx.x, head = blockIdx.y, n = z.tokens;
  const Image<T> at{z, image, head, problem};
  for (int c = threadIdx.x; c < z.depth; c += 128) {
    double dk = 0, dv = 0;
    for (int i = 0; i < n; ++i) {
      const int64_t pair = (int64_t{head} * n + i) * n + j;
      dk += r.dl[pair] * (at.qkv(i, 0, c) + at.time(0, c));
      dv += r.p[pair] * at.dout(i, c);
    }
    double* to = r.dqkv + (int64_t{image} * n + j) * 3 * z.channels() + head * z.depth + c;
    to[z.channels()] = dk / sqrt(static_cast<double>(z.depth));
    to[2 * z.channels()] = dv;
  }
}

template <typename T> __global__ void reference_time(Problem problem, Reference r, int image) {
  const Sizes& z = problem.z;
  const int head = blockIdx.x, n = z.tokens;
  const Image<T> at{z, image, head, problem};
  for (int c = threadIdx.x; c < z.depth; c += 128) {
    double query = 0, value = 0;
    for (int i = 0; i < n; ++i) {
      query += r.dqkv[(int64_t{image} * n + i) * 3 * z.channels() + head * z.depth + c];
      value += at.dout(i, c);
    }
    double* to = r.dtime + int64_t{image} * 3 * z.channels() + head * z.depth + c;
    to[0] = query, to[z.channels()] = 0, to[2 * z.channels()] = value;
  }
}

// Adds an image to dbias, one entry per block.
template <typename T> __global__ void reference_bias(Problem problem, Reference r, int image) {
  const Sizes& z = problem.z;
  const int w = z.window, n = z.tokens, head = blockIdx.y;
  const int row = blockIdx.x / (2 * w - 1) - (w - 1), column = blockIdx.x % (2 * w - 1) - (w - 1);
  double sum = 0;
  for (int j = threadIdx.x; j < n; j += 128) {
    const int i_row = j / w + row, i_column = j % w + column;
    if (i_row < 0 || i_row >= w || i_column < 0 || i_column >= w) continue;
    sum += r.dl[(int64_t{head} * n + i_row * w + i_column) * n + j];
  }
  sum = sum_of_block(sum);
  if (threadIdx.x == 0) r.dbias[int64_t{blockIdx.x} * z.heads + head] += sum;
}

template <typename T> void compute_reference(const Problem& problem, const Reference& r) {
  const Sizes& z = problem.z;
  for (int image = 0; image < z.images; ++image) {
    launch(reference_rows<T>, dim3(z.tokens, z.heads), dim3(128), 0, nullptr, problem, r, image);
    launch(reference_columns<T>, dim3(z.tokens, z.heads), dim3(128), 0, nullptr, problem, r, image);
    launch(reference_time<T>, dim3(z.heads), dim3(128), 0, nullptr, problem, r, image);
    launch(reference_bias<T>, dim3(z.table(), z.heads), dim3(128), 0, nullptr, problem, r, image);
  }
  SHARDIT_CUDA(cudaDeviceSynchronize());
}

}  // namespace shardit

// Attention for every shape in fp32 and bf16, without tensor cores: one block per row of logits, made to be right.
// Bounded by loads: each block reads all keys of its head through the caches.
#include "core/cuda.h"
#include "ops/attention_device.h"

namespace shardit::attention_device {
namespace {

constexpr int kPlainThreads = 128;

// The operands of one head of one image, and where its results go. T: float or BF16.
template <typename T> struct Head {
  const Sizes& z;
  int64_t index;             // (B, H)
  const T *qkv, *time;       // the head's first q; its part of qkv_time
  const T *q_time, *v_time;  // D each
  const T* bias;             // entries H apart
  int stride;                // of tokens in qkv

  __device__ Head(const Sizes& z, const void* qkv_of_all, const void* time_of_all, const void* bias_of_all, int head,
                  int image)
      : z(z),
        index(int64_t{image} * z.heads + head),
        qkv(static_cast<const T*>(qkv_of_all) + int64_t{image} * z.tokens * 3 * z.channels() + head * z.depth),
        time(static_cast<const T*>(time_of_all) + int64_t{image} * 3 * z.channels() + head * z.depth),
        q_time(time),
        v_time(time + 2 * z.channels()),
        bias(static_cast<const T*>(bias_of_all) + head),
        stride(3 * z.channels()) {}

  __device__ const T* q(int token) const { return qkv + int64_t{token} * stride; }
  __device__ const T* k(int token) const { return q(token) + z.channels(); }
  __device__ const T* v(int token) const { return k(token) + z.channels(); }
  __device__ float query(int token, int c) const {
    return static_cast<float>(q(token)[c]) + static_cast<float>(q_time[c]);
  }
  __device__ float bias_of(int query, int key) const {
    const int row = query / z.window - key / z.window + z.window - 1;
    const int column = query % z.window - key % z.window + z.window - 1;
    return static_cast<float>(bias[int64_t{row * (2 * z.window - 1) + column} * z.heads]);
  }
  // Where this head's rows stand in (B, N, C).
  __device__ int64_t out_at(int token) const {
    return (index / z.heads * z.tokens + token) * z.channels() + index % z.heads * z.depth;
  }
  __device__ int64_t row_at(int token) const { return index * z.tokens + token; }  // in (B, H, N)

  __device__ float logit(int query_token, int key_token) const {
    const T* key = k(key_token);
    float dot = 0;
    for (int c = 0; c < z.depth; ++c) dot = fmaf(query(query_token, c), static_cast<float>(key[c]), dot);
    return fmaf(dot, 1 / sqrtf(static_cast<float>(z.depth)), bias_of(query_token, key_token));
  }
  __device__ float dp(const T* dout, int query_token, int key_token) const {
    const T *row = dout + out_at(query_token), *value = v(key_token);
    float dot = 0;
    for (int c = 0; c < z.depth; ++c) dot = fmaf(static_cast<float>(row[c]), static_cast<float>(value[c]), dot);
    return dot;
  }
};

// `combine` over the block's threads, in the order of a fixed tree; all get the result.
template <typename F> __device__ float reduce(float x, F&& combine) {
  SHARDIT_SHARED(float, of_warp, [kPlainThreads / 32]);
  for (int apart = 16; apart > 0; apart /= 2) x = combine(x, __shfl_xor_sync(0xffffffffu, x, apart));
  __syncthreads();  // the last result has been read
  if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = x;
  __syncthreads();
  x = of_warp[0];
  for (int warp = 1; warp < kPlainThreads / 32; ++warp) x = combine(x, of_warp[warp]);
  return x;
}
__device__ float block_sum(float x) {
  return reduce(x, [](float a, float b) { return a + b; });
}

// f(i) for i < n, dealt to the block's threads.
template <typename F> __device__ void for_all(int n, F&& f) {
  for (int i = threadIdx.x; i < n; i += kPlainThreads) f(i);
}

// One query (blockIdx.x) of one head of one image.
template <typename T> __global__ void __launch_bounds__(kPlainThreads) plain_forward(Sizes z, Forward a) {
  SHARDIT_DYNAMIC_SHARED(float, p);  // N logits, then their exponentials
  const int i = blockIdx.x;
  const Head<T> head(z, a.qkv, a.qkv_time, a.bias, blockIdx.y, blockIdx.z);
  float largest = -INFINITY, sum = 0;
  for_all(z.tokens, [&](int j) { largest = fmaxf(largest, p[j] = head.logit(i, j)); });
  largest = reduce(largest, [](float x, float y) { return fmaxf(x, y); });
  for_all(z.tokens, [&](int j) { sum += p[j] = expf(p[j] - largest); });
  sum = block_sum(sum);
  if (threadIdx.x == 0) a.lse[head.row_at(i)] = largest + logf(sum);
  for_all(z.depth, [&](int c) {
    float out = 0;
    for (int j = 0; j < z.tokens; ++j) out = fmaf(p[j], static_cast<float>(head.v(j)[c]), out);
    static_cast<T*>(a.out)[head.out_at(i) + c] = T(out / sum + static_cast<float>(head.v_time[c]));
  });
}

// dq and delta of one query.
template <typename T>
__global__ void __launch_bounds__(kPlainThreads) plain_query_gradient(Sizes z, Backward a, float* delta) {
  SHARDIT_DYNAMIC_SHARED(float, p);
  float* const dp = p + z.tokens;
  const int i = blockIdx.x;
  const Head<T> head(z, a.qkv, a.qkv_time, a.bias, blockIdx.y, blockIdx.z);
  const float log_sum = a.lse[head.row_at(i)], scale = 1 / sqrtf(static_cast<float>(z.depth));
  float sum = 0;
  for_all(z.tokens, [&](int j) {
    p[j] = expf(head.logit(i, j) - log_sum);
    dp[j] = head.dp(static_cast<const T*>(a.dout), i, j);
    sum = fmaf(p[j], dp[j], sum);
  });
  sum = block_sum(sum);
  if (threadIdx.x == 0) delta[head.row_at(i)] = sum;
  for_all(z.depth, [&](int c) {
    float dq = 0;
    for (int j = 0; j < z.tokens; ++j) dq = fmaf(p[j] * (dp[j] - sum), static_cast<float>(head.k(j)[c]), dq);
    static_cast<T*>(a.dqkv)[head.q(i) - static_cast<const T*>(a.qkv) + c] = T(dq * scale);
  });
}

// dk and dv of one key, and its sum of dl over the queries.
template <typename T>
__global__ void __launch_bounds__(kPlainThreads)
    plain_key_gradient(Sizes z, Backward a, const float* delta, float* sums) {
  SHARDIT_DYNAMIC_SHARED(float, p);
  float* const dl = p + z.tokens;
  const int j = blockIdx.x;
  const Head<T> head(z, a.qkv, a.qkv_time, a.bias, blockIdx.y, blockIdx.z);
  const T* dout = static_cast<const T*>(a.dout);
  const float scale = 1 / sqrtf(static_cast<float>(z.depth));
  float sum = 0;
  for_all(z.tokens, [&](int i) {
    p[i] = expf(head.logit(i, j) - a.lse[head.row_at(i)]);
    dl[i] = p[i] * (head.dp(dout, i, j) - delta[head.row_at(i)]);
    sum += dl[i];
  });
  sum = block_sum(sum);
  if (threadIdx.x == 0) sums[head.row_at(j)] = sum;
  T* dqkv = static_cast<T*>(a.dqkv) + (head.q(j) - static_cast<const T*>(a.qkv));
  for_all(z.depth, [&](int c) {
    float dk = 0, dv = 0;
    for (int i = 0; i < z.tokens; ++i) {
      dk = fmaf(dl[i], head.query(i, c), dk);
      dv = fmaf(p[i], static_cast<float>(dout[head.out_at(i) + c]), dv);
    }
    dqkv[z.channels() + c] = T(dk * scale);
    dqkv[2 * z.channels() + c] = T(dv);
  });
}

// dqkv_time of one head (blockIdx.x) of one image: the sum of dq is that of dl's sums over the queries times the keys.
template <typename T>
__global__ void __launch_bounds__(kPlainThreads) plain_time_gradient(Sizes z, Backward a, const float* sums) {
  const Head<T> head(z, a.qkv, a.qkv_time, a.bias, blockIdx.x, blockIdx.y);
  const float scale = 1 / sqrtf(static_cast<float>(z.depth));
  T* dtime = static_cast<T*>(a.dqkv_time) + (head.time - static_cast<const T*>(a.qkv_time));
  for_all(z.depth, [&](int c) {
    float query = 0, value = 0;
    for (int j = 0; j < z.tokens; ++j) {
      query = fmaf(sums[head.row_at(j)], static_cast<float>(head.k(j)[c]), query);
      value += static_cast<float>(static_cast<const T*>(a.dout)[head.out_at(j) + c]);
    }
    dtime[c] = T(query * scale);
    dtime[z.channels() + c] = T(0.0f);  // k_t has no effect
    dtime[2 * z.channels() + c] = T(value);
  });
}

// dbias of one relative position (blockIdx.x) of one head: over the pairs of tokens that stand so, and over images.
template <typename T>
__global__ void __launch_bounds__(kPlainThreads) plain_bias_gradient(Sizes z, Backward a, const float* delta) {
  const int w = z.window, row = blockIdx.x / (2 * w - 1) - (w - 1), column = blockIdx.x % (2 * w - 1) - (w - 1);
  const int columns = w - abs(column), pairs = (w - abs(row)) * columns;
  float sum = 0;
  for (int image = 0; image < z.images; ++image) {
    const Head<T> head(z, a.qkv, a.qkv_time, a.bias, blockIdx.y, image);
    for_all(pairs, [&](int pair) {  // the key stands (row, column) before the query
      const int key_row = pair / columns + (row < 0 ? -row : 0),
                key_column = pair % columns + (column < 0 ? -column : 0);
      const int j = key_row * w + key_column, i = j + row * w + column;
      const float p = expf(head.logit(i, j) - a.lse[head.row_at(i)]);
      sum += p * (head.dp(static_cast<const T*>(a.dout), i, j) - delta[head.row_at(i)]);
    });
  }
  sum = block_sum(sum);
  if (threadIdx.x == 0) a.dbias[int64_t{blockIdx.x} * z.heads + blockIdx.y] = sum;
}

// Shared memory for rows of logits. The compiler reads them in fours, up to the last one.
size_t bytes_of_rows(const Sizes& z, int rows) {
  return (static_cast<size_t>(rows * z.tokens) + 3) / 4 * 4 * sizeof(float);
}

template <typename T> void launch_forward(const Sizes& z, const Forward& a, void* stream) {
  launch(plain_forward<T>, dim3(z.tokens, z.heads, z.images), dim3(kPlainThreads), bytes_of_rows(z, 1), stream, z, a);
}

template <typename T> void launch_backward(const Sizes& z, const Backward& a, void* stream) {
  const Workspace w(z, a.workspace);
  const dim3 rows(z.tokens, z.heads, z.images), block(kPlainThreads);
  const size_t bytes = bytes_of_rows(z, 2);
  launch(plain_query_gradient<T>, rows, block, bytes, stream, z, a, w.delta);
  launch(plain_key_gradient<T>, rows, block, bytes, stream, z, a, w.delta, w.sums);
  launch(plain_time_gradient<T>, dim3(z.heads, z.images), block, 0, stream, z, a, w.sums);
  launch(plain_bias_gradient<T>, dim3(z.table(), z.heads), block, 0, stream, z, a, w.delta);
}

}  // namespace

void plain_forward(const Sizes& z, const Forward& a, void* stream) {
  z.type == DType::kBF16 ? launch_forward<BF16>(z, a, stream) : launch_forward<float>(z, a, stream);
}
void plain_backward(const Sizes& z, const Backward& a, void* stream) {
  z.type == DType::kBF16 ? launch_backward<BF16>(z, a, stream) : launch_backward<float>(z, a, stream);
}

}  // namespace shardit::attention_device

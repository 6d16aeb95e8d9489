#include "ops/product_tuning.h"

#include <algorithm>
#include <cstring>
#include <random>

#include "core/cuda_error.h"
#include "ops/cublaslt.h"

namespace shardit {
namespace {

constexpr int kAnswers = 64, kLook = 5, kRounds = 31, kProofs = 100;
constexpr size_t kFinalists = 8;
constexpr size_t kScratchBytes = size_t{256} << 20;  // more than any GPU's cache holds

struct DeviceBytes {
  explicit DeviceBytes(size_t n) : bytes(n) {
    if (n > 0) SHARDIT_CUDA(cudaMalloc(&data, n));
  }
  ~DeviceBytes() { cudaFree(data); }
  DeviceBytes(const DeviceBytes&) = delete;

  size_t bytes;
  void* data = nullptr;
};

struct Queue {
  Queue() { SHARDIT_CUDA(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking)); }
  ~Queue() { cudaStreamDestroy(stream); }
  Queue(const Queue&) = delete;

  cudaStream_t stream = nullptr;
};

struct Event {
  Event() { SHARDIT_CUDA(cudaEventCreate(&event)); }
  ~Event() { cudaEventDestroy(event); }
  Event(const Event&) = delete;

  cudaEvent_t event = nullptr;
};

// Of the host, where copies from the device arrive fastest.
struct PinnedBytes {
  explicit PinnedBytes(size_t n) : bytes(n) { SHARDIT_CUDA(cudaMallocHost(&data, n)); }
  ~PinnedBytes() { cudaFreeHost(data); }
  PinnedBytes(const PinnedBytes&) = delete;

  size_t bytes;
  void* data = nullptr;
};

size_t bytes_of(const MatrixLayout& m, int64_t rows, int64_t columns) {
  const int64_t elements = (rows - 1) * m.row_stride + (columns - 1) * m.column_stride + 1;
  return static_cast<size_t>(elements) * size_of(m.dtype);
}

// Uniform in [-1, 1), the same values again after a prime number of elements.
template <typename T> void fill_with(const DeviceBytes& memory) {
  constexpr size_t kPattern = 1048573;
  std::minstd_rand random(1);
  std::vector<T> pattern;
  for (size_t i = 0; i < kPattern; ++i) pattern.push_back(T(std::uniform_real_distribution<float>(-1, 1)(random)));
  for (size_t at = 0; at < memory.bytes; at += kPattern * sizeof(T))
    SHARDIT_CUDA(cudaMemcpy(static_cast<std::byte*>(memory.data) + at, pattern.data(),
                            std::min(kPattern * sizeof(T), memory.bytes - at), cudaMemcpyHostToDevice));
}
void fill(const DeviceBytes& memory, DType dtype) {
  if (memory.bytes == 0) return;
  dtype == DType::kF32 ? fill_with<float>(memory) : fill_with<BF16>(memory);
}

// What a product writes, with scratch of its own.
struct Results {
  explicit Results(const Product& p)
      : c(bytes_of(p.c, p.m, p.n)),
        z(p.epilogue == Epilogue::kGelu ? c.bytes : 0),
        workspace(static_cast<size_t>(kProductWorkspaceBytes)) {}

  DeviceBytes c, z, workspace;
};

double median_of(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + std::ssize(values) / 2, values.end());
  return values[values.size() / 2];
}

class TuningBench {
 public:
  explicit TuningBench(const Product& p)
      : a_(bytes_of(p.a, p.m, p.k)),
        b_(bytes_of(p.b, p.k, p.n)),
        bias_(p.bias ? static_cast<size_t>(p.n) * size_of(p.b.dtype) : 0),
        slope_(p.epilogue == Epilogue::kGeluGrad ? bytes_of(p.c, p.m, p.n) : 0),
        mine_(p),
        others_(p),
        product_(p) {
    for (const auto& [memory, dtype] :
         {std::pair(&a_, p.a.dtype), {&b_, p.b.dtype}, {&bias_, p.b.dtype}, {&slope_, p.c.dtype}})
      fill(*memory, dtype);
    SHARDIT_CUDA(cudaDeviceSynchronize());
  }

  std::vector<LibraryAlgorithm> answers() const { return product_.answers(kAnswers); }

  // Medians; one after another in each round, so that all see the same clocks.
  std::vector<double> times_us(const std::vector<LibraryAlgorithm>& algorithms, int rounds) {
    std::vector<std::vector<double>> us(algorithms.size());
    for (int round = -1; round < rounds; ++round)  // before the first round each runs once, to be loaded
      for (size_t i = 0; i < algorithms.size(); ++i) {
        product_.use(algorithms[i]);
        const double took = time_us();
        if (round >= 0) us[i].push_back(took);
      }
    std::vector<double> medians;
    for (const std::vector<double>& of : us) medians.push_back(median_of(of));
    return medians;
  }

  bool repeats(const LibraryAlgorithm& algorithm) {
    product_.use(algorithm);
    for (int run = 0; run < kProofs; ++run) {
      disturb();
      clear(mine_.c);
      clear(mine_.z);
      launch(mine_, queue_);
      fetch(run == 0 ? first_ : now_);
      if (run > 0 && std::memcmp(first_.data, now_.data, first_.bytes) != 0) return false;
    }
    return true;
  }

 private:
  void launch(const Results& r, const Queue& queue) const {
    product_.run({a_.data, b_.data, bias_.data, r.c.data, slope_.data ? slope_.data : r.z.data},
                 static_cast<std::byte*>(r.workspace.data), queue.stream);
  }

  double time_us() {
    SHARDIT_CUDA(cudaMemsetAsync(scratch_.data, 0, scratch_.bytes, queue_.stream));
    SHARDIT_CUDA(cudaEventRecord(begin_.event, queue_.stream));
    launch(mine_, queue_);
    SHARDIT_CUDA(cudaEventRecord(end_.event, queue_.stream));
    SHARDIT_CUDA(cudaEventSynchronize(end_.event));
    float ms = 0;
    SHARDIT_CUDA(cudaEventElapsedTime(&ms, begin_.event, end_.event));
    return static_cast<double>(ms) * 1e3;
  }

  // Takes multiprocessors and memory's time from what runs on the first stream.
  void disturb() {
    const size_t half = scratch_.bytes / 2;
    SHARDIT_CUDA(cudaMemcpyAsync(static_cast<std::byte*>(scratch_.data) + half, scratch_.data, half,
                                 cudaMemcpyDeviceToDevice, other_queue_.stream));
    launch(others_, other_queue_);
  }

  void clear(const DeviceBytes& memory) {
    if (memory.bytes > 0) SHARDIT_CUDA(cudaMemsetAsync(memory.data, 0xff, memory.bytes, queue_.stream));
  }

  void fetch(const PinnedBytes& to) {
    auto* at = static_cast<std::byte*>(to.data);
    for (const DeviceBytes* result : {&mine_.c, &mine_.z}) {
      if (result->bytes == 0) continue;
      SHARDIT_CUDA(cudaMemcpyAsync(at, result->data, result->bytes, cudaMemcpyDeviceToHost, queue_.stream));
      at += result->bytes;
    }
    SHARDIT_CUDA(cudaStreamSynchronize(queue_.stream));
  }

  DeviceBytes a_, b_, bias_, slope_;
  Results mine_, others_;
  PinnedBytes first_{mine_.c.bytes + mine_.z.bytes}, now_{mine_.c.bytes + mine_.z.bytes};
  DeviceBytes scratch_{kScratchBytes};
  Queue queue_, other_queue_;
  Event begin_, end_;
  DeviceProduct product_;
};

}  // namespace

TunedProduct tune_product(const Product& product) {
  TuningBench bench(product);
  const std::vector<LibraryAlgorithm> all = bench.answers();
  if (all.empty()) throw DeviceError("cuBLASLt matmul " + text_of(product) + ": nothing that a table could hold");
  std::vector<LibraryAlgorithm> best;
  for (size_t i : shortest(bench.times_us(all, kLook), kFinalists)) best.push_back(all[i]);
  const std::vector<double> us = bench.times_us(best, kRounds);

  TunedProduct tuned{.key = key_of(product, kWideAlignment), .tried = static_cast<int>(all.size()), .first_us = us[0]};
  const auto picked = pick(us, [&](size_t i) {
    const bool repeats = bench.repeats(best[i]);
    tuned.unrepeatable += !repeats;
    return repeats;
  });
  if (!picked) return tuned;
  tuned.algorithm = best[*picked];
  tuned.about = describe(*tuned.algorithm);
  tuned.best_us = us[*picked];
  return tuned;
}

}  // namespace shardit

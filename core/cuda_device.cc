#include "core/cuda_device.h"

#include <algorithm>
#include <cctype>
#include <chrono>
#include <cstring>
#include <map>
#include <thread>
#include <utility>
#include <vector>

#include <glog/logging.h>
#include "core/cuda_error.h"

namespace shardit {
namespace {

std::string version_text(int version) {  // 13000: 13.0
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

// When kernels ran, for pictures: events around each, turned into the host's time once their stream is idle.
class KernelTimer {
 public:
  ~KernelTimer() {
    for (const Timed& t : pending_) destroy(t);
    if (origin_) cudaEventDestroy(origin_);
  }

  // The begin of a kernel on `stream`; its end is told by end().
  void begin(Stream stream, cudaStream_t queue, Trace::Span* span) {
    if (!origin_) set_origin(queue);
    pending_.push_back({stream, span, mark(queue), nullptr});
  }
  void end(cudaStream_t queue) { pending_.back().end = mark(queue); }

  // REQUIRES: `stream` is idle.
  void tell(Stream stream) {
    std::erase_if(pending_, [&](const Timed& t) {
      if (t.stream != stream) return false;
      t.span->begin_ns = host_time(t.begin);
      t.span->end_ns = host_time(t.end);
      destroy(t);
      return true;
    });
  }

 private:
  struct Timed {
    Stream stream;
    Trace::Span* span;
    cudaEvent_t begin, end;
  };

  static cudaEvent_t mark(cudaStream_t queue) {
    cudaEvent_t event;
    SHARDIT_CUDA(cudaEventCreate(&event));
    SHARDIT_CUDA(cudaEventRecord(event, queue));
    return event;
  }
  static void destroy(const Timed& t) {
    cudaEventDestroy(t.begin);
    if (t.end) cudaEventDestroy(t.end);
  }

  void set_origin(cudaStream_t queue) {
    origin_ = mark(queue);
    SHARDIT_CUDA(cudaEventSynchronize(origin_));
    origin_ns_ = Trace::now_ns();
  }
  int64_t host_time(cudaEvent_t event) const {
    float ms = 0;
    SHARDIT_CUDA(cudaEventElapsedTime(&ms, origin_, event));
    return origin_ns_ + static_cast<int64_t>(static_cast<double>(ms) * 1e6);
  }

  std::vector<Timed> pending_;
  cudaEvent_t origin_ = nullptr;
  int64_t origin_ns_ = 0;
};

// The wire's kernels go first where both streams have some: others wait for what it sends.
class CudaDevice : public Device {
 public:
  explicit CudaDevice(int gpu) {
    SHARDIT_CUDA(cudaSetDevice(gpu));
    cudaDeviceProp properties;
    SHARDIT_CUDA(cudaGetDeviceProperties(&properties, gpu));
    int runtime = 0;
    SHARDIT_CUDA(cudaRuntimeGetVersion(&runtime));
    model_ = std::string(properties.name) + ", sm_" + std::to_string(properties.major * 10 + properties.minor) +
             ", CUDA " + version_text(runtime);
    int least = 0, greatest = 0;
    SHARDIT_CUDA(cudaDeviceGetStreamPriorityRange(&least, &greatest));
    for (int s = 0; s < kStreams; ++s)
      SHARDIT_CUDA(cudaStreamCreateWithPriority(&queues_[s], cudaStreamNonBlocking,
                                                static_cast<Stream>(s) == Stream::kWire ? greatest : least));
  }
  ~CudaDevice() override {
    for (cudaEvent_t event : events_)
      if (event) cudaEventDestroy(event);
    for (cudaStream_t queue : queues_) cudaStreamDestroy(queue);
  }

  const char* name() const override { return "cuda"; }
  std::string model() const override { return model_; }
  Kernels kernels() const override { return Kernels::kCuda; }
  bool host_reaches() const override { return false; }
  int64_t free_bytes() const override {
    size_t free = 0, all = 0;
    SHARDIT_CUDA(cudaMemGetInfo(&free, &all));
    return static_cast<int64_t>(free);
  }

  void while_waiting(std::function<void()> look) override { look_ = std::move(look); }

  void* allocate(size_t bytes) override {
    void* const memory = source_.take(bytes);
    if (!memory) {
      const cudaError_t refused = cudaGetLastError();  // it is told here
      throw DeviceError("cannot allocate " + std::to_string(bytes) + " bytes of GPU memory, " +
                        std::to_string(free_bytes()) + " are free" +
                        (refused == cudaSuccess ? "" : std::string(": ") + cudaGetErrorString(refused)));
    }
    given_[memory] = source_.give_back;
    SHARDIT_CUDA(cudaMemset(memory, 0, bytes));
    SHARDIT_CUDA(cudaDeviceSynchronize());
    return memory;
  }
  void release(void* memory, size_t) override {
    const auto it = given_.find(memory);
    it->second(memory);
    given_.erase(it);
  }
  void take_memory_from(MemorySource source) override { source_ = std::move(source); }

  void* allocate_host(size_t bytes) override {
    void* memory = nullptr;
    if (const cudaError_t refused = cudaMallocHost(&memory, bytes); refused != cudaSuccess) {
      (void)cudaGetLastError();
      throw DeviceError("cannot allocate " + std::to_string(bytes) +
                        " bytes of pinned host memory: " + cudaGetErrorString(refused));
    }
    std::memset(memory, 0, bytes);
    return memory;
  }
  void release_host(void* memory, size_t) override { cudaFreeHost(memory); }

  void launch(Stream stream, const OpCard& card, const KernelArgs& args, Trace::Span* when) override {
    if (when) timer_.begin(stream, queue(stream), when);
    card.cuda(args, queue(stream));
    if (when) timer_.end(queue(stream));
  }
  // CUDA takes pageable bytes of the host into staging of its own before it returns, and copies from pinned ones later.
  void copy_in(Stream stream, void* device, const void* host, size_t bytes) override {
    SHARDIT_CUDA(cudaMemcpyAsync(device, host, bytes, cudaMemcpyHostToDevice, queue(stream)));
  }
  // CUDA would wait for the stream in the call where the bytes of the host are pageable, and look after nothing.
  void copy_out(Stream stream, void* host, const void* device, size_t bytes) override {
    if (look_) finish(stream);
    SHARDIT_CUDA(cudaMemcpyAsync(host, device, bytes, cudaMemcpyDeviceToHost, queue(stream)));
  }

  void record(Stream stream, int event) override {
    if (event >= static_cast<int>(events_.size())) events_.resize(static_cast<size_t>(event) + 1, nullptr);
    if (!events_[event]) SHARDIT_CUDA(cudaEventCreateWithFlags(&events_[event], cudaEventDisableTiming));
    SHARDIT_CUDA(cudaEventRecord(events_[event], queue(stream)));
  }
  void wait(Stream stream, int event) override {
    if (event >= static_cast<int>(events_.size()) || !events_[event]) return;
    SHARDIT_CUDA(cudaStreamWaitEvent(queue(stream), events_[event], 0));
  }
  void synchronize(Stream stream) override {
    finish(stream);
    timer_.tell(stream);
  }

 private:
  cudaStream_t queue(Stream stream) const { return queues_[static_cast<int>(stream)]; }

  // A kernel that failed is told of here, by its stream.
  void finish(Stream stream) const {
    if (const cudaError_t failed = wait_for(queue(stream)); failed != cudaSuccess)
      throw DeviceError(std::string("a kernel or copy of the ") + name_of(stream) +
                        " stream failed: " + cudaGetErrorName(failed) + ", " + cudaGetErrorString(failed) +
                        "\nCUDA_LAUNCH_BLOCKING=1 makes the error name the node");
  }

  cudaError_t wait_for(cudaStream_t queue) const {
    if (!look_) return cudaStreamSynchronize(queue);
    cudaError_t state;
    while ((state = cudaStreamQuery(queue)) == cudaErrorNotReady) {
      look_();
      std::this_thread::sleep_for(std::chrono::microseconds(20));
    }
    return state;
  }

  std::string model_;
  cudaStream_t queues_[kStreams] = {};
  std::vector<cudaEvent_t> events_;
  KernelTimer timer_;
  std::function<void()> look_;
  MemorySource source_{.take =
                           [](size_t bytes) {
                             void* memory = nullptr;
                             return cudaMalloc(&memory, bytes) == cudaSuccess ? memory : nullptr;
                           },
                       .give_back = [](void* memory) { cudaFree(memory); }};
  std::map<void*, std::function<void(void*)>> given_;  // how each piece goes back to where it came from
};

}  // namespace

int count_gpus() {
  int count = 0;
  const cudaError_t failed = cudaGetDeviceCount(&count);
  if (failed == cudaErrorNoDevice) return 0;
  if (failed != cudaSuccess)
    throw DeviceError(std::string("CUDA finds no driver that it can use: ") + cudaGetErrorName(failed) + ", " +
                      cudaGetErrorString(failed));
  return count;
}

std::array<char, 16> gpu_id(int gpu) {
  cudaDeviceProp properties;
  SHARDIT_CUDA(cudaGetDeviceProperties(&properties, gpu));
  std::array<char, 16> id;
  std::memcpy(id.data(), properties.uuid.bytes, id.size());
  return id;
}

std::string gpu_pci(int gpu) {
  char place[32] = "";
  SHARDIT_CUDA(cudaDeviceGetPCIBusId(place, sizeof place, gpu));
  std::string text = place;  // perhaps in capitals
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::tolower(c); });
  return text;
}

Gpu look_at_gpu(int gpu) {
  int driver = 0;
  SHARDIT_CUDA(cudaDriverGetVersion(&driver));
  cudaDeviceProp properties;
  SHARDIT_CUDA(cudaGetDeviceProperties(&properties, gpu));
  SHARDIT_CUDA(cudaSetDevice(gpu));
  size_t free = 0, all = 0;
  SHARDIT_CUDA(cudaMemGetInfo(&free, &all));
  return {.name = properties.name,
          .memory_bytes = static_cast<int64_t>(all),
          .free_bytes = static_cast<int64_t>(free),
          .compute_capability = properties.major * 10 + properties.minor,
          .driver = version_text(driver)};
}

std::unique_ptr<Device> make_cuda_device(int gpu) { return std::make_unique<CudaDevice>(gpu); }

}  // namespace shardit

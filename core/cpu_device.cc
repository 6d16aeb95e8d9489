#include <sys/mman.h>

#include <cerrno>
#include <cstring>
#include <optional>
#include <vector>

#include <glog/logging.h>
#include "core/device.h"
#include "core/error.h"
#include "core/wire_thread.h"

namespace shardit {
namespace {

// The compute and copy streams are the calling thread: what they were given is over when a call returns. The wire
// stream is a thread of its own, started by its first kernel. So a kernel on the wire never has to wait for the other
// streams, only they for it.
class CpuDevice : public Device {
 public:
  explicit CpuDevice(WireRuns wire) : runs_(wire) {}

  const char* name() const override { return "cpu"; }

  void* allocate(size_t bytes) override {
    void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
      throw DeviceError("cannot allocate " + std::to_string(bytes) + " bytes of host memory: " + std::strerror(errno));
    madvise(memory, bytes, MADV_HUGEPAGE);  // fewer TLB misses; a refusal costs nothing
#ifdef MADV_POPULATE_WRITE
    madvise(memory, bytes, MADV_POPULATE_WRITE);  // pages come now, not in the first step and the first save
#endif
    return memory;
  }
  void release(void* memory, size_t bytes) override { munmap(memory, bytes); }

  void launch(Stream stream, const OpCard& card, const KernelArgs& args, Trace::Span* when) override {
    if (stream == Stream::kWire && runs_ == WireRuns::kBeside) {
      if (!wire_) wire_.emplace();
      return wire_->issue(card, args, when);
    }
    if (when) when->begin_ns = Trace::now_ns();
    card.cpu(args);
    if (when) when->end_ns = Trace::now_ns();
  }
  void copy_in(Stream, void* device, const void* host, size_t bytes) override { std::memcpy(device, host, bytes); }
  void copy_out(Stream, void* host, const void* device, size_t bytes) override { std::memcpy(host, device, bytes); }

  void record(Stream stream, int event) override {
    if (event >= static_cast<int>(issued_at_.size())) issued_at_.resize(static_cast<size_t>(event) + 1, 0);
    issued_at_[event] = stream == Stream::kWire && wire_ ? wire_->issued() : 0;
  }
  void wait(Stream stream, int event) override {
    if (stream == Stream::kWire || event >= static_cast<int>(issued_at_.size()) || issued_at_[event] == 0) return;
    wire_->wait_for(issued_at_[event]);
  }
  void synchronize(Stream stream) override {
    if (stream == Stream::kWire && wire_) wire_->drain();
  }

 private:
  const WireRuns runs_;
  std::vector<uint64_t> issued_at_;  // by event: kernels on the wire when it was last recorded; 0 for other streams
  std::optional<WireThread> wire_;
};

}  // namespace

void* Device::allocate_host(size_t) { LOG(FATAL) << name() << ": the host reaches the device's memory"; }
void Device::release_host(void*, size_t) { LOG(FATAL) << name() << ": the host reaches the device's memory"; }

std::unique_ptr<Device> make_cpu_device(WireRuns wire) { return std::make_unique<CpuDevice>(wire); }

}  // namespace shardit

// Where kernels run, in as few calls as an executor needs. Every call but allocate, release and synchronize is
// asynchronous on a device that has queues. The CPU computes in the calling thread and has a thread for the wire.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>

#include "core/op_card.h"
#include "core/stream.h"
#include "core/target.h"
#include "core/trace.h"

namespace shardit {

// Where a device takes its memory, if others must know of it: a library that reads it in place when it sends.
struct MemorySource {
  std::function<void*(size_t bytes)> take;      // null where there is not so much
  std::function<void(void* memory)> give_back;  // also when what `take` needs is gone
};

class Device {
 public:
  virtual ~Device() = default;
  virtual const char* name() const = 0;
  virtual void* allocate(size_t bytes) = 0;  // zeroed; throws DeviceError with the bytes asked for
  virtual void release(void* memory, size_t bytes) = 0;
  // `when`, if given, tells when the kernel ran, once it has and its stream was synchronized.
  virtual void launch(Stream stream, const OpCard& card, const KernelArgs& args, Trace::Span* when) = 0;
  // The host's bytes may change once a copy in returns, unless they lie in memory of allocate_host.
  virtual void copy_in(Stream stream, void* device, const void* host, size_t bytes) = 0;
  virtual void copy_out(Stream stream, void* host, const void* device, size_t bytes) = 0;
  virtual void record(Stream stream, int event) = 0;  // event: a step's index
  virtual void wait(Stream stream, int event) = 0;    // the stream goes on after the event
  virtual void synchronize(Stream stream) = 0;        // the host goes on when the stream is idle

  // What differs on a device apart from the CPU.
  virtual Kernels kernels() const { return Kernels::kCpu; }
  virtual std::string model() const { return ""; }    // what decides its bits: "NVIDIA H200, sm_90, CUDA 13.0"
  virtual bool host_reaches() const { return true; }  // allocate's memory
  virtual int64_t free_bytes() const { return 0; }    // that allocate can give; 0: those of the machine
  // Called now and then while the host waits for a stream; what it throws ends the wait. Null: nothing.
  virtual void while_waiting(std::function<void()>) {}
  // From now on `allocate` takes memory there; ignored where ranks speak by their hosts.
  virtual void take_memory_from(MemorySource) {}
  // Zeroed memory of the host that copies reach while the host does something else. REQUIRES: !host_reaches().
  virtual void* allocate_host(size_t bytes);
  virtual void release_host(void* memory, size_t bytes);
};

// Where the CPU runs what is on the wire stream: on a thread beside the computing one, or in its place in the computing
// thread, which is there to be compared with.
enum class WireRuns { kBeside, kInLine };
std::unique_ptr<Device> make_cpu_device(WireRuns wire = WireRuns::kBeside);

}  // namespace shardit

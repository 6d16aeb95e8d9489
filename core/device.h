// Where kernels run, in as few calls as an executor needs. Every call but allocate, release and synchronize is
// asynchronous on a device that has queues. The CPU computes in the calling thread and has a thread for the wire.
#pragma once

#include <cstddef>
#include <memory>

#include "core/op_card.h"
#include "core/stream.h"
#include "core/trace.h"

namespace shardit {

class Device {
 public:
  virtual ~Device() = default;
  virtual const char* name() const = 0;
  virtual void* allocate(size_t bytes) = 0;  // zeroed; throws DeviceError with the bytes asked for
  virtual void release(void* memory, size_t bytes) = 0;
  // `when`, if given, tells when the kernel ran, once it has.
  virtual void launch(Stream stream, const OpCard& card, const KernelArgs& args, Trace::Span* when) = 0;
  virtual void copy_in(Stream stream, void* device, const void* host, size_t bytes) = 0;
  virtual void copy_out(Stream stream, void* host, const void* device, size_t bytes) = 0;
  virtual void record(Stream stream, int event) = 0;  // event: a step's index
  virtual void wait(Stream stream, int event) = 0;    // the stream goes on after the event
  virtual void synchronize(Stream stream) = 0;        // the host goes on when the stream is idle
};

// Where the CPU runs what is on the wire stream: on a thread beside the computing one, or in its place in the computing
// thread, which is there to be compared with.
enum class WireRuns { kBeside, kInLine };
std::unique_ptr<Device> make_cpu_device(WireRuns wire = WireRuns::kBeside);

}  // namespace shardit

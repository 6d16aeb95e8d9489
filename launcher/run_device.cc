#include "launcher/run_device.h"

#include "core/cuda_device.h"
#include "core/error.h"

namespace shardit {
namespace {

// Why there is no GPU to be used; empty if there is one.
std::string why_no_gpu(int ranks) {
  try {
    if (count_gpus() == 0) return "CUDA finds no GPU";
  } catch (const DeviceError& error) {
    return error.what();
  }
  return ranks == 1 ? "" : "a job of several ranks cannot use GPUs yet";
}

void require_cuda() { REQUIRE(built_with_cuda(), "device=cuda: this build has no CUDA; use device=cpu"); }

std::unique_ptr<Device> open_gpu(int ranks) {
  require_cuda();
  REQUIRE(ranks == 1, "device=cuda: this job has " + std::to_string(ranks) +
                          " ranks, and this build computes on one GPU per job: it has no communication between GPUs " +
                          "yet\nstart one rank, or use device=cpu");
  if (const std::string why = why_no_gpu(ranks); !why.empty()) throw DeviceError("device=cuda: " + why);
  return make_cuda_device(0);
}

}  // namespace

RunDevice open_device(const std::string& wanted, int ranks) {
  if (wanted == "cuda") return {open_gpu(ranks), ""};
  if (wanted == "cpu" || !built_with_cuda()) return {make_cpu_device(), ""};
  const std::string why = why_no_gpu(ranks);
  if (why.empty()) return {make_cuda_device(0), ""};
  return {make_cpu_device(), "device: cpu, " + why};
}

bool copied_on_host(const std::string& buffer) {
  for (const char* kind : {"batch.", "validation.", "master.", "adam.", "ema."})
    if (buffer.starts_with(kind)) return true;
  return false;
}

Target target_of(const Device& device, int threads) {
  Target target(threads);
  target.kernels = device.kernels();
  if (!device.host_reaches()) target.copied_on_host = copied_on_host;
  return target;
}

Target planned_target(const std::string& wanted, int threads) {
  Target target(threads);
  if (wanted != "cuda") return target;
  require_cuda();
  target.kernels = Kernels::kCuda;
  target.copied_on_host = copied_on_host;
  return target;
}

std::string full_name(const Device& device) {
  return device.model().empty() ? device.name() : std::string(device.name()) + " " + device.model();
}

}  // namespace shardit

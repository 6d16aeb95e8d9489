#include "core/gpu_gauge.h"

#include <dlfcn.h>

#include <chrono>

#include "core/error.h"

namespace shardit {
namespace {

constexpr const char* kFile = "libnvidia-ml.so.1";
constexpr int64_t kReadEveryNs = 1'000'000'000;

// What we call of NVML, in its own types; its header is not part of every CUDA toolkit.
struct Nvml {
  static constexpr int kSuccess = 0;
  static constexpr unsigned kTemperatureOfGpu = 0, kClockOfMultiprocessors = 1;

  int (*init)();
  const char* (*error_text)(int);
  int (*find_device)(const char* pci, void** device);
  // A driver may lack some, older or newer than this file: null then, and that is not told.
  int (*power)(void* device, unsigned* milliwatts);
  int (*temperature)(void* device, unsigned sensor, unsigned* celsius);
  int (*clock)(void* device, unsigned which, unsigned* mhz);
  int (*throttle)(void* device, unsigned long long* reasons);
};

template <typename Function> void find(void* library, const char* name, Function& function) {
  function = reinterpret_cast<Function>(dlsym(library, name));
}

template <typename Function> void must_find(void* library, const char* name, Function& function) {
  find(library, name, function);
  if (!function) throw DeviceError(std::string(kFile) + " has no " + name + ": it is too old, or no NVML");
}

void check(const Nvml& nvml, int result, const std::string& call) {
  if (result != Nvml::kSuccess) throw DeviceError(call + ": " + nvml.error_text(result));
}

// Never unloaded.
Nvml load() {
  void* const library = dlopen(kFile, RTLD_NOW | RTLD_LOCAL);
  if (!library) throw DeviceError(std::string("NVML, which comes with the driver, cannot be loaded: ") + dlerror());
  Nvml nvml;
  must_find(library, "nvmlInit_v2", nvml.init);
  must_find(library, "nvmlErrorString", nvml.error_text);
  must_find(library, "nvmlDeviceGetHandleByPciBusId_v2", nvml.find_device);
  find(library, "nvmlDeviceGetPowerUsage", nvml.power);
  find(library, "nvmlDeviceGetTemperature", nvml.temperature);
  find(library, "nvmlDeviceGetClockInfo", nvml.clock);
  find(library, "nvmlDeviceGetCurrentClocksEventReasons", nvml.throttle);
  if (!nvml.throttle) find(library, "nvmlDeviceGetCurrentClocksThrottleReasons", nvml.throttle);  // before driver 535
  check(nvml, nvml.init(), "nvmlInit");
  return nvml;
}

const Nvml& nvml() {
  static const Nvml library = load();
  return library;
}

// Whether the driver's NVML has the function, and the GPU an answer that this user may read.
template <typename Function, typename... Arguments> bool answers(Function* function, Arguments... arguments) {
  return function && function(arguments...) == Nvml::kSuccess;
}

int64_t now_ns() { return std::chrono::steady_clock::now().time_since_epoch().count(); }

}  // namespace

std::vector<std::string> throttle_reasons(uint64_t bits) {
  constexpr const char* kNames[] = {"",
                                    "applications_clocks_setting",
                                    "sw_power_cap",
                                    "hw_slowdown",
                                    "sync_boost",
                                    "sw_thermal_slowdown",
                                    "hw_thermal_slowdown",
                                    "hw_power_brake_slowdown",
                                    "display_clock_setting"};
  std::vector<std::string> names;
  for (size_t bit = 1; bit < std::size(kNames); ++bit)
    if (bits >> bit & 1) names.push_back(kNames[bit]);
  return names;
}

GpuGauge::GpuGauge(const std::string& pci) {
  check(nvml(), nvml().find_device(pci.c_str(), &device_), "NVML does not find the GPU at " + pci);
}

GpuReading GpuGauge::read() {
  if (read_ns_ != 0 && now_ns() - read_ns_ < kReadEveryNs) return last_;
  read_ns_ = now_ns();
  last_ = {};
  unsigned number = 0;
  if (answers(nvml().power, device_, &number)) last_.watts = number * 1e-3;
  if (answers(nvml().temperature, device_, Nvml::kTemperatureOfGpu, &number)) last_.celsius = number;
  if (answers(nvml().clock, device_, Nvml::kClockOfMultiprocessors, &number)) last_.sm_mhz = number;
  unsigned long long reasons = 0;
  if (answers(nvml().throttle, device_, &reasons)) last_.throttle = reasons;
  return last_;
}

}  // namespace shardit

// A test double of NVIDIA's management library, which comes with a driver for GPUs and with nothing else. It knows two
// GPUs: one tells all, and another clock each time; the other tells its heat alone. new_nvml, old_nvml: by which name
// a driver tells what slows the clock. empty_nvml: no NVML at all, under its name.
#include <cstring>

#ifndef empty_nvml
namespace {

constexpr int kSuccess = 0, kNoPermission = 4, kNotSupported = 3, kNotFound = 6;
int whole = 0, poor = 0;  // their handles are their addresses
unsigned asked = 0;

}  // namespace

extern "C" {

int nvmlInit_v2() { return kSuccess; }
const char* nvmlErrorString(int result) { return result == kNotFound ? "Not Found" : "Unknown Error"; }

int nvmlDeviceGetHandleByPciBusId_v2(const char* pci, void** device) {
  if (std::strcmp(pci, "0000:3b:00.0") == 0) return *device = &whole, kSuccess;
  if (std::strcmp(pci, "0001:af:00.0") == 0) return *device = &poor, kSuccess;
  return kNotFound;
}
int nvmlDeviceGetPowerUsage(void* device, unsigned* milliwatts) {
  return device == &whole ? (*milliwatts = 512250, kSuccess) : (*milliwatts = 1, kNoPermission);
}
int nvmlDeviceGetTemperature(void*, unsigned sensor, unsigned* celsius) {
  return sensor == 0 ? (*celsius = 61, kSuccess) : kNotSupported;
}
int nvmlDeviceGetClockInfo(void* device, unsigned clock, unsigned* mhz) {
  return device == &whole && clock == 1 ? (*mhz = 1700 + asked++, kSuccess) : kNotSupported;
}
#ifdef new_nvml
int nvmlDeviceGetCurrentClocksEventReasons(void* device, unsigned long long* reasons) {
#else
int nvmlDeviceGetCurrentClocksThrottleReasons(void* device, unsigned long long* reasons) {
#endif
  return device == &whole ? (*reasons = 0x1 | 0x4 | 0x20, kSuccess) : kNotSupported;
}
}
#endif

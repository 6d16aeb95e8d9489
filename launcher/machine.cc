#include "launcher/machine.h"

#include <google/protobuf/stubs/common.h>
#include <png.h>
#include <sys/utsname.h>
#include <unistd.h>
#include <zlib.h>
#include <CLI/Version.hpp>
#include <dnnl.hpp>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "core/cuda_device.h"
#include "data/decode.h"
#include "launcher/cpu_place.h"

namespace shardit {
namespace {

struct Feature {
  const char* name;
  bool compiled;  // this binary uses it
  bool present;   // this CPU has it
};

#ifdef __AVX2__
constexpr bool kAvx2 = true;
#else
constexpr bool kAvx2 = false;
#endif
#ifdef __AVX512F__
constexpr bool kAvx512 = true;
#else
constexpr bool kAvx512 = false;
#endif
#ifdef __AVX512BF16__
constexpr bool kAvx512Bf16 = true;
#else
constexpr bool kAvx512Bf16 = false;
#endif

std::vector<Feature> features() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  return {{"avx2", kAvx2, __builtin_cpu_supports("avx2") != 0},
          {"fma", kAvx2, __builtin_cpu_supports("fma") != 0},
          {"avx512f", kAvx512, __builtin_cpu_supports("avx512f") != 0},
          {"avx512bf16", kAvx512Bf16, __builtin_cpu_supports("avx512bf16") != 0}};
#else
  return {};
#endif
}

// The rest of the first line of `path` that starts with `key`, after its colon or equals sign; empty if there is none.
std::string value_in(const std::string& path, const std::string& key) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (line.rfind(key, 0) != 0) continue;
    const size_t start = line.find_first_not_of(" \t\"", line.find_first_of(":=") + 1);
    return start == std::string::npos ? "" : line.substr(start, line.find_last_not_of(" \"") + 1 - start);
  }
  return "";
}

int64_t kilobytes_in(const std::string& key) { return std::atoll(value_in("/proc/meminfo", key).c_str()) * 1024; }

// A container's limit in bytes (cgroup 2), or `otherwise`.
int64_t limited_memory(int64_t otherwise) {
  std::ifstream file("/sys/fs/cgroup/memory.max");
  int64_t limit = 0;
  return file >> limit && limit > 0 ? std::min(limit, otherwise) : otherwise;
}

std::string system_name() {
  utsname names = {};
  uname(&names);
  const std::string pretty = value_in("/etc/os-release", "PRETTY_NAME");
  return (pretty.empty() ? "" : pretty + ", ") + names.sysname + " " + names.release;
}

std::string host_name() {
  char name[256] = "";
  gethostname(name, sizeof name - 1);
  return name;
}

std::string dnnl_version_text() {
  const dnnl_version_t* v = dnnl_version();
  return std::to_string(v->major) + "." + std::to_string(v->minor) + "." + std::to_string(v->patch);
}

}  // namespace

Machine look_at_machine(const std::string& folder) {
  Machine machine;
  machine.host = host_name();
  machine.system = system_name();
  machine.cpu = value_in("/proc/cpuinfo", "model name");
  machine.cores = usable_cpus();
  machine.memory_bytes = limited_memory(kilobytes_in("MemTotal"));
  machine.available_bytes = std::min(machine.memory_bytes, kilobytes_in("MemAvailable"));
  for (const Feature& feature : features()) {
    if (feature.present) machine.cpu_features.push_back(feature.name);
    if (feature.compiled && !feature.present) machine.missing_features.push_back(feature.name);
  }
  std::error_code ignored;
  const auto space = std::filesystem::space(folder, ignored);
  machine.disk_free_bytes = ignored ? 0 : static_cast<int64_t>(space.available);
  return machine;
}

Build build_facts() {
  Build build;
#ifdef __clang__
  build.compiler = "clang " __clang_version__;
#else
  build.compiler = "gcc " __VERSION__;
#endif
  build.cuda = built_with_cuda();
  for (const Feature& feature : features())
    if (feature.compiled)
      build.instruction_set += (build.instruction_set.empty() ? "" : " ") + std::string(feature.name);
  build.libraries = {{"oneDNN", dnnl_version_text()},
                     {"protobuf", google::protobuf::internal::VersionString(GOOGLE_PROTOBUF_VERSION)},
                     {"libpng", PNG_LIBPNG_VER_STRING},
                     {"libjpeg-turbo", jpeg_library_version()},
                     {"zlib", zlibVersion()},
                     {"CLI11", CLI11_VERSION}};
  return build;
}

std::string library_instruction_set() {
  const dnnl_cpu_isa_t isa = dnnl_get_effective_cpu_isa();
  const std::pair<dnnl_cpu_isa_t, const char*> names[] = {{dnnl_cpu_isa_sse41, "sse41"},
                                                          {dnnl_cpu_isa_avx, "avx"},
                                                          {dnnl_cpu_isa_avx2, "avx2"},
                                                          {dnnl_cpu_isa_avx2_vnni, "avx2_vnni"},
                                                          {dnnl_cpu_isa_avx512_core, "avx512_core"},
                                                          {dnnl_cpu_isa_avx512_core_vnni, "avx512_core_vnni"},
                                                          {dnnl_cpu_isa_avx512_core_bf16, "avx512_core_bf16"},
                                                          {dnnl_cpu_isa_avx512_core_amx, "avx512_core_amx"}};
  for (const auto& [value, name] : names)
    if (isa == value) return name;
  return "isa " + std::to_string(static_cast<unsigned>(isa));
}

nlohmann::ordered_json machine_json(const std::string& folder) {
  const Machine machine = look_at_machine(folder);
  const Build build = build_facts();
  nlohmann::ordered_json libraries = nlohmann::ordered_json::object();
  for (const auto& [name, version] : build.libraries) libraries[name] = version;
  return {{"host", machine.host},
          {"system", machine.system},
          {"cpu", machine.cpu},
          {"cores", machine.cores},
          {"memory_bytes", machine.memory_bytes},
          {"available_bytes", machine.available_bytes},
          {"disk_free_bytes", machine.disk_free_bytes},
          {"cpu_features", machine.cpu_features},
          {"missing_features", machine.missing_features},
          {"compiler", build.compiler},
          {"compiled_for", build.instruction_set},
          {"cuda", build.cuda},
          {"libraries", libraries}};
}

}  // namespace shardit

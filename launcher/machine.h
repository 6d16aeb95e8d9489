// Facts about this machine and this build: for `shardit doctor`, and for a run's "start" event, so that a report says
// where its numbers come from.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace shardit {

struct Machine {
  std::string host, system;                       // "node7", "Debian GNU/Linux 12 (bookworm), Linux 6.1.0"
  std::string cpu;                                // "AMD EPYC 9R14"
  int cores = 0;                                  // that this process may use
  int64_t memory_bytes = 0, available_bytes = 0;  // the container's limit where there is one
  std::vector<std::string> cpu_features;          // of those that shardit's kernels ask for
  std::vector<std::string> missing_features;      // that this binary was compiled for and this CPU lacks
  int64_t disk_free_bytes = 0;                    // at `folder`
};
Machine look_at_machine(const std::string& folder);

struct Build {
  std::string compiler, instruction_set;  // "gcc 12.2.0", "avx2 fma avx512f …": what the binary was compiled for
  bool cuda = false;
  std::vector<std::pair<std::string, std::string>> libraries;  // name, version
};
Build build_facts();

// Which kernels oneDNN chose for this CPU, or was told to by ONEDNN_MAX_CPU_ISA: "avx512_core_amx". Other kernels sum
// in another order.
std::string library_instruction_set();

// Both as one JSON object; numbers carry their unit in the key.
nlohmann::ordered_json machine_json(const std::string& folder);

}  // namespace shardit

// Which CPUs a rank's threads run on. One that computes on a GPU keeps to those of the NUMA node that the GPU hangs on:
// memory lies where it is first touched, and so does then what the GPU copies from.
#pragma once

#include <sched.h>

#include <optional>
#include <string>
#include <vector>

namespace shardit {

// "0-31,64-95", as Linux lists CPUs, there and back; nothing where `text` is no such list.
std::optional<cpu_set_t> parse_cpu_list(const std::string& text);
std::string cpu_list(const cpu_set_t& cpus);

// That this thread may run on: what mpirun, Slurm or a container left it. Nothing where Linux does not say: it has more
// CPUs than a cpu_set_t.
std::optional<cpu_set_t> allowed_cpus();
int usable_cpus();  // how many; where Linux does not say, all

struct CpuPlace {
  std::optional<cpu_set_t> cpus;  // to keep to; nothing: all that are allowed
  std::string text;               // "on CPUs 0-31 of NUMA node 0", or why it is not pinned
};

// Of `allowed`, never beyond it, the CPUs of the NUMA node of the device at `pci` ("0000:3b:00.0"), as the files below
// `sysfs` say. Changes nothing.
CpuPlace cpus_near(const std::string& pci, const cpu_set_t& allowed, const std::string& sysfs);

// Keeps this thread, and those that it starts from then on, to them. Gives CpuPlace::text.
std::string stay_near(const std::string& pci, const std::string& sysfs = "/sys");

// For the log, from what each rank says: "cpus: ranks 0-3 on CPUs 0-31 of NUMA node 0; ranks 4-7 not pinned: …".
std::string describe_cpus(const std::vector<std::string>& by_rank);

}  // namespace shardit

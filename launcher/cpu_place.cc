#include "launcher/cpu_place.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <fstream>
#include <map>

#include "dist/diagnosis.h"  // list_ranks

namespace shardit {
namespace {

std::optional<int> parse_number(const std::string& text) {
  int number = 0;
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (failed != std::errc() || end != text.data() + text.size()) return {};
  return number;
}

// "7", "0-31": adds them. False where it is neither, or they are more than a set holds.
bool add_range(const std::string& text, cpu_set_t& cpus) {
  const size_t dash = text.find('-', 1);
  const auto first = parse_number(text.substr(0, dash));
  const auto last = dash == std::string::npos ? first : parse_number(text.substr(dash + 1));
  if (!first || !last || *first < 0 || *last < *first || *last >= CPU_SETSIZE) return false;
  for (int cpu = *first; cpu <= *last; ++cpu) CPU_SET(cpu, &cpus);
  return true;
}

// Empty where it cannot be read.
std::string first_line(const std::string& path) {
  std::string line;
  std::getline(std::ifstream(path), line);
  return line;
}

CpuPlace not_pinned(const std::string& why) { return {.text = "not pinned: " + why}; }

}  // namespace

std::optional<cpu_set_t> parse_cpu_list(const std::string& text) {
  cpu_set_t cpus;
  CPU_ZERO(&cpus);
  for (size_t begin = 0; !text.empty() && begin <= text.size();) {
    const size_t comma = std::min(text.find(',', begin), text.size());
    if (!add_range(text.substr(begin, comma - begin), cpus)) return {};
    begin = comma + 1;
  }
  return cpus;
}

std::string cpu_list(const cpu_set_t& cpus) {
  std::string text;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &cpus)) continue;
    const int first = cpu;
    while (cpu + 1 < CPU_SETSIZE && CPU_ISSET(cpu + 1, &cpus)) ++cpu;
    text += (text.empty() ? "" : ",") + std::to_string(first) + (cpu > first ? "-" + std::to_string(cpu) : "");
  }
  return text;
}

std::optional<cpu_set_t> allowed_cpus() {
  cpu_set_t cpus;
  CPU_ZERO(&cpus);
  if (sched_getaffinity(0, sizeof cpus, &cpus) != 0) return {};
  return cpus;
}

int usable_cpus() {
  const auto allowed = allowed_cpus();
  return allowed ? CPU_COUNT(&*allowed) : static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN));
}

CpuPlace cpus_near(const std::string& pci, const cpu_set_t& allowed, const std::string& sysfs) {
  const std::string folder = sysfs + "/bus/pci/devices/" + pci;
  const std::string node = first_line(folder + "/numa_node"), list = first_line(folder + "/local_cpulist");
  const auto number = parse_number(node);
  const auto near = parse_cpu_list(list);
  if (!number || !near) return not_pinned(folder + " gives its GPU the NUMA node '" + node + "', CPUs '" + list + "'");
  if (*number < 0) return not_pinned("the GPU belongs to no NUMA node");
  cpu_set_t both;
  CPU_AND(&both, &allowed, &*near);
  const std::string of_node = " of NUMA node " + node;
  if (CPU_COUNT(&both) == 0)
    return not_pinned("it was started on CPUs " + cpu_list(allowed) + ", its GPU is near CPUs " + list + of_node);
  return {.cpus = both, .text = "on CPUs " + cpu_list(both) + of_node};
}

std::string stay_near(const std::string& pci, const std::string& sysfs) {
  const auto allowed = allowed_cpus();
  if (!allowed) return not_pinned(std::string("sched_getaffinity: ") + strerror(errno)).text;
  const CpuPlace place = cpus_near(pci, *allowed, sysfs);
  if (place.cpus && sched_setaffinity(0, sizeof *place.cpus, &*place.cpus) != 0)
    return not_pinned(std::string("sched_setaffinity: ") + strerror(errno)).text;
  return place.text;
}

std::string describe_cpus(const std::vector<std::string>& by_rank) {
  std::map<std::string, std::vector<int>> alike;
  for (size_t rank = 0; rank < by_rank.size(); ++rank) alike[by_rank[rank]].push_back(static_cast<int>(rank));
  std::string text;
  for (size_t rank = 0; rank < by_rank.size(); ++rank) {
    const std::vector<int>& ranks = alike[by_rank[rank]];
    if (ranks.front() == static_cast<int>(rank))
      text += (text.empty() ? "cpus: " : "; ") + list_ranks(ranks) + " " + by_rank[rank];
  }
  return text;
}

}  // namespace shardit

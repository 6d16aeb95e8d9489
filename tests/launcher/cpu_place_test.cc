#include "launcher/cpu_place.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <thread>

#include "tests/launcher/test_folder.h"

namespace shardit {
namespace {

const std::string kPci = "0000:3b:00.0";

cpu_set_t cpus(const std::string& list) { return parse_cpu_list(list).value(); }

// A machine with one GPU, as Linux shows it below /sys.
struct Sysfs {
  TestFolder root;

  Sysfs(const std::string& numa_node, const std::string& cpulist) {
    const std::string folder = "bus/pci/devices/" + kPci;
    std::filesystem::create_directories(root / folder);
    root.write(folder + "/numa_node", numa_node);
    root.write(folder + "/local_cpulist", cpulist);
  }
  CpuPlace place(const std::string& allowed) const { return cpus_near(kPci, cpus(allowed), root.path); }
};

std::string list_of(const CpuPlace& place) { return place.cpus ? cpu_list(*place.cpus) : "not pinned"; }

TEST(CpuList, IsReadAndWrittenAsLinuxDoes) {
  for (const char* list : {"", "0", "1023", "0-1", "3,5", "0-31,64-95", "0,2-3,5,7-1023"})
    EXPECT_EQ(cpu_list(cpus(list)), list);
  EXPECT_EQ(cpu_list(cpus("2,0-1,1")), "0-2");
  const cpu_set_t two_halves = cpus("0-31,64-95");
  EXPECT_EQ(CPU_COUNT(&two_halves), 64);
}

TEST(CpuList, IsNothingElse) {
  for (const char* text : {",",           "0,",  ",0", "0,,1", "-",     "-1",   "0-", "3-2", "1024",    "0-1024",
                           "99999999999", "0x1", " 0", "0 ",   "0-1-2", "0--1", "+1", "a",   "0-7:1/2", "0\n"})
    EXPECT_FALSE(parse_cpu_list(text)) << "'" << text << "'";
  EXPECT_FALSE(parse_cpu_list(std::string("0\0001", 3)));
  EXPECT_FALSE(parse_cpu_list(std::string(1 << 20, '0') + "8888888888"));
}

TEST(CpuPlace, IsTheGpusNode) {
  const CpuPlace place = Sysfs("1\n", "32-63,96-127\n").place("0-127");
  EXPECT_EQ(list_of(place), "32-63,96-127");
  EXPECT_EQ(place.text, "on CPUs 32-63,96-127 of NUMA node 1");
}

TEST(CpuPlace, IsNeverWiderThanWhatWasLeft) {
  const CpuPlace place = Sysfs("1\n", "32-63\n").place("28-35,63-64");
  EXPECT_EQ(list_of(place), "32-35,63");
  EXPECT_EQ(place.text, "on CPUs 32-35,63 of NUMA node 1");
}

TEST(CpuPlace, IsLeftAloneWhereNoneOfTheNodeWasLeft) {
  const CpuPlace place = Sysfs("1\n", "32-63\n").place("0-3");
  EXPECT_EQ(list_of(place), "not pinned");
  EXPECT_EQ(place.text, "not pinned: it was started on CPUs 0-3, its GPU is near CPUs 32-63 of NUMA node 1");
  EXPECT_FALSE(Sysfs("2\n", "\n").place("0-3").cpus) << "a node of memory alone";
}

TEST(CpuPlace, IsLeftAloneInAMachineWithoutNodes) {
  const CpuPlace place = Sysfs("-1\n", "0-7\n").place("0-3");
  EXPECT_EQ(list_of(place), "not pinned");
  EXPECT_EQ(place.text, "not pinned: the GPU belongs to no NUMA node");
}

TEST(CpuPlace, IsLeftAloneWhereLinuxSaysNothingOfUse) {
  const Sysfs odd("0\n", "0-3;4\n");
  EXPECT_EQ(odd.place("0-3").text,
            "not pinned: " + odd.root / "bus/pci/devices/" + kPci + " gives its GPU the NUMA node '0', CPUs '0-3;4'");
  for (const char* node : {"", "\n", "one\n", "0 1\n", "99999999999\n"})
    EXPECT_FALSE(Sysfs(node, "0-3\n").place("0-3").cpus) << node;
  EXPECT_FALSE(cpus_near("0000:00:00.0", cpus("0-3"), odd.root.path).cpus) << "another GPU";
}

// In a thread of its own: this program's others go where they were.
TEST(CpuPlace, HoldsForTheThreadAndThoseItStarts) {
  const cpu_set_t before = allowed_cpus().value();
  int last = CPU_SETSIZE - 1;
  while (!CPU_ISSET(last, &before)) --last;
  const Sysfs machine("3\n", std::to_string(last) + "-1023\n");
  std::thread([&] {
    EXPECT_EQ(stay_near(kPci, machine.root.path), "on CPUs " + std::to_string(last) + " of NUMA node 3");
    std::thread([&] { EXPECT_EQ(cpu_list(allowed_cpus().value()), std::to_string(last)); }).join();
    EXPECT_EQ(usable_cpus(), 1);
  }).join();
  EXPECT_EQ(cpu_list(allowed_cpus().value()), cpu_list(before));
}

TEST(CpuPlace, OfRanksThatAreAlikeIsToldOnce) {
  EXPECT_EQ(describe_cpus({"on b", "on b", "on a", "on b"}), "cpus: ranks 0-1 3 on b; rank 2 on a");
}

}  // namespace
}  // namespace shardit

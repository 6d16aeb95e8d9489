#include "dist/launch_environment.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <initializer_list>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace shardit {
namespace {

// The process's environment with these of the launchers' variables alone, until the end of the scope.
class Environment {
 public:
  Environment(std::initializer_list<std::pair<const char*, const char*>> set) {
    for (const char* name : {"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_RANK", "PMI_SIZE",
                             "RANK", "SLURM_PROCID", "SLURM_NTASKS", "SLURM_STEP_NUM_TASKS"}) {
      if (const char* value = std::getenv(name)) before_[name] = value;
      unsetenv(name);
    }
    for (const auto& [name, value] : set) {
      setenv(name, value, 1);
      set_.push_back(name);
    }
  }
  ~Environment() {
    for (const char* name : set_) unsetenv(name);
    for (const auto& [name, value] : before_) setenv(name.c_str(), value.c_str(), 1);
  }

 private:
  std::vector<const char*> set_;
  std::map<std::string, std::string> before_;
};

TEST(LaunchEnvironment, APlainStartIsNoMpiJob) {
  const Environment environment{};
  EXPECT_FALSE(started_by_launcher());
  EXPECT_EQ(rank_from_environment(), 0);
  EXPECT_EQ(processes_from_environment(), std::nullopt);
}

TEST(LaunchEnvironment, KnowsMpirunEvenOfOneProcess) {
  const Environment environment{{"OMPI_COMM_WORLD_SIZE", "1"}, {"OMPI_COMM_WORLD_RANK", "0"}};
  EXPECT_TRUE(started_by_launcher());
  EXPECT_TRUE(started_by_openmpi());
  EXPECT_EQ(processes_from_environment(), 1);
}

TEST(LaunchEnvironment, KnowsPmiAndPmix) {
  {
    const Environment environment{{"PMI_SIZE", "4"}, {"PMI_RANK", "3"}};
    EXPECT_FALSE(started_by_openmpi());
    EXPECT_TRUE(started_by_launcher());
    EXPECT_EQ(rank_from_environment(), 3);
    EXPECT_EQ(processes_from_environment(), 4);
  }
  const Environment environment{{"PMIX_RANK", "2"}};
  EXPECT_TRUE(started_by_launcher());
  EXPECT_EQ(rank_from_environment(), 2);
}

TEST(LaunchEnvironment, TellsATaskOfSrunFromABatchScript) {
  {
    const Environment environment{{"SLURM_PROCID", "5"}, {"SLURM_NTASKS", "8"}, {"SLURM_STEP_NUM_TASKS", "8"}};
    EXPECT_TRUE(started_by_launcher());
    EXPECT_EQ(rank_from_environment(), 5);
    EXPECT_EQ(processes_from_environment(), 8);
  }
  const Environment environment{{"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "8"}};
  EXPECT_FALSE(started_by_launcher());
}

TEST(LaunchEnvironment, TorchrunGivesARankButNoMpi) {
  const Environment environment{{"RANK", "1"}, {"WORLD_SIZE", "2"}};
  EXPECT_FALSE(started_by_launcher());
  EXPECT_EQ(rank_from_environment(), 1);
  EXPECT_TRUE(speaks_for_job()) << "also what a pod's shell has of it";
}

TEST(LaunchEnvironment, OneProcessSpeaksForAJob) {
  for (const auto& [rank, speaks] : {std::pair{"0", true}, std::pair{"1", false}}) {
    const Environment environment{{"OMPI_COMM_WORLD_SIZE", "2"}, {"OMPI_COMM_WORLD_RANK", rank}};
    EXPECT_EQ(speaks_for_job(), speaks);
  }
  const Environment environment{};
  EXPECT_TRUE(speaks_for_job());
}

}  // namespace
}  // namespace shardit

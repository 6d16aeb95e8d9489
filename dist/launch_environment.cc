#include "dist/launch_environment.h"

#include <cstdlib>
#include <initializer_list>

namespace shardit {
namespace {

std::optional<int> first_of(std::initializer_list<const char*> names) {
  for (const char* name : names)
    if (const char* value = std::getenv(name)) return std::atoi(value);
  return std::nullopt;
}

}  // namespace

int rank_from_environment() {
  return first_of({"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK", "RANK", "SLURM_PROCID"}).value_or(0);
}

std::optional<int> processes_from_environment() {
  return first_of({"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"});
}

bool started_by_launcher() {
  return first_of({"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "PMIX_RANK"}).has_value() ||
         (first_of({"SLURM_PROCID"}).has_value() && processes_from_environment().value_or(1) > 1);
}

bool speaks_for_job() { return !started_by_launcher() || rank_from_environment() == 0; }

bool started_by_openmpi() { return first_of({"OMPI_COMM_WORLD_SIZE"}).has_value(); }

}  // namespace shardit

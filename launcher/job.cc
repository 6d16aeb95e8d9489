#include "launcher/job.h"

#include <iostream>

#include "core/error.h"
#include "dist/launch_environment.h"
#include "dist/mpi_world.h"
#include "launcher/command_line.h"
#include "launcher/ranks.h"

namespace shardit {

int run_job(const std::function<int(World&)>& body) {
  const std::unique_ptr<World> world =
      started_by_launcher() ? make_mpi_world(nullptr, nullptr) : make_single_world();
  try {
    return body(*world);
  } catch (const Error& error) {
    if (!error.everywhere) throw;
    if (world->rank() == 0) print_error(error.what(), std::cerr);
    world->make_group("end")->barrier("end");
    return error.exit_code;
  }
}

}  // namespace shardit

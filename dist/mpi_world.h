// Ranks as processes that mpirun or srun started.
#pragma once

#include <memory>

#include "dist/world.h"

namespace shardit {

// Initialises MPI with full thread support; finalised when the world and all its communicators are gone, on all ranks:
// a rank that cannot go on calls abort before it lets go of its world. Call once, and only where started_by_launcher()
// (launch_environment.h) says so: without it a program never touches MPI. Throws CommError if MPI cannot serve several
// threads, or if it does not see all processes that were started.
std::unique_ptr<World> make_mpi_world(int* argc, char*** argv);

// All ranks once more, with the MPI library's own collectives (mpi_library.cc): what ours are measured against. Calls
// of at most 2 GiB per part. Collective; REQUIRES: an MpiWorld that outlives it.
std::unique_ptr<Communicator> make_mpi_library_group();

}  // namespace shardit

// The MPI job that this test program is a rank of.
#pragma once

#include "dist/world.h"

namespace shardit::test {

World& mpi_job();

}  // namespace shardit::test

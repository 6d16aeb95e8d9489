// A mesh whose ranks hear only themselves: every collective answers at once, as if all others had sent what this rank
// has. The results are wrong and finite; the work between them stays. For measuring what communication costs.
#pragma once

#include "dist/mesh.h"

namespace shardit {

Mesh make_echo_mesh(int ranks, int rank, int replicas);

}  // namespace shardit

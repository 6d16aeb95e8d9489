// The first ranks of a job as a world of their own: what runs there believes that the job is no larger.
#pragma once

#include <memory>

#include "dist/world.h"

namespace shardit {

// The first `ranks` of `job`, this one among them; collective among those. Its groups are groups of the job, and so are
// its calls. It has no side channel of its own: a watchdog watches the whole job. REQUIRES: `job` outlives it.
std::unique_ptr<World> make_sub_world(World& job, int ranks);

}  // namespace shardit

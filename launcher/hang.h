// What a command does about ranks that wait for each other without end.
#pragma once

#include <memory>

#include "dist/watchdog.h"
#include "dist/world.h"

namespace shardit {

// A watchdog that ends the process with code 6, and says which rank is to blame, when a call lasts longer than
// `limit_s`. Null, since there is nothing to watch, in a world of one rank and with a limit of 0. Collective over the
// world, which must outlive it; every rank keeps its own until all are through their calls.
std::unique_ptr<Watchdog> end_hangs(World& world, double limit_s);

}  // namespace shardit

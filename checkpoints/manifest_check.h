// Whether a manifest makes sense on its own; used on both ways, so that nothing is written that cannot be read.
#pragma once

#include <string>

#include "checkpoints/manifest.h"

namespace shardit {

// What is wrong, naming tensor and file; empty if nothing is.
std::string contradiction_in(const Manifest& manifest);

}  // namespace shardit

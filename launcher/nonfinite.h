// Finding where a loss or a gradient stopped being finite.
#pragma once

#include <optional>
#include <string>

#include "core/program.h"

namespace shardit {

// Runs a graph node by node and returns the label and op of the first node with a non-finite output ("blocks.7.attn
// (attention), output 0"), or nothing.
std::optional<std::string> first_nonfinite(Program& program, int graph, int slot);

bool all_finite(const TensorRef& tensor);  // true for integers

}  // namespace shardit

// The rules that every graph keeps between passes. A broken rule is our mistake: it aborts with the node's label.
#pragma once

#include <string>

#include "core/graph.h"

namespace shardit {

// Checks that: every input is made before it is read, every node waited for stands before, every output's producer is
// right; labels are not empty; the
// card's shape rule gives the shapes that stand there; windows (kView, kPlace) lie inside the larger tensor and have
// its type; a value that an in-place update overwrites is not read afterwards and not updated twice.
// Returns the first violation as text, empty if there is none.
std::string find_violation(const Graph& graph);

// CHECKs that there is none; `stage` names the pass that ran last.
void verify(const Graph& graph, const std::string& stage);

}  // namespace shardit

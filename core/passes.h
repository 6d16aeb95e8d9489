// Passes that know nothing of any op.
#pragma once

#include "core/graph.h"

namespace shardit {

// Removes nodes that no output, kept value or in-place update needs.
Graph prune(const Graph& graph);

// Moves nodes whose card is `constant` into `prologue`, where they are kept in persistent buffers, and reads them from
// there: run `prologue` once before the first run. Constants of equal op and attributes share a buffer.
Graph hoist_constants(const Graph& graph, Graph& prologue);

}  // namespace shardit

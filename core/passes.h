// Passes that know nothing of any op.
#pragma once

#include "core/graph.h"

namespace shardit {

// Removes nodes that no output, kept value or in-place update needs.
Graph prune(const Graph& graph);

// Moves nodes whose card is `constant` into `prologue`, where they are kept in persistent buffers, and reads them from
// there: run `prologue` once before the first run. Constants of equal op and attributes share a buffer.
Graph hoist_constants(const Graph& graph, Graph& prologue);

// Activation recomputation: which forward values are computed again in the backward pass instead of being kept.
enum class Recompute {
  kNone,
  kSelective,  // those that cost no matrix product and whose own inputs are kept anyway (norms, activations)
  kBlock,      // everything inside a unit: only what enters it is kept
};

// Clones forward nodes right before the first backward node of their unit that reads them. A clone replays the same
// kernels on the same keys, so results do not change by a bit.
Graph recompute(const Graph& graph, Recompute policy);

}  // namespace shardit

// Fusion as a pass: small ops that a fused card's `expand` describes are replaced by the fused card. Models never call
// fused ops; a fused kernel gives the same bits as its expansion, so fusing changes speed and memory only.
#pragma once

#include "core/graph.h"

namespace shardit {

Graph fuse(const Graph& graph);

}  // namespace shardit

// Fusion as a pass: small ops that a fused card's `expand` describes are replaced by the fused card. Models never call
// fused ops; on the CPU a fused kernel gives the same bits as its expansion, so fusing changes speed and memory only.
// On a GPU a library's epilogue may round once where the ops apart round twice.
#pragma once

#include "core/graph.h"

namespace shardit {

Graph fuse(const Graph& graph);

}  // namespace shardit

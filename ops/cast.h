// The precision of a run: one table from roles to types, and the pass that applies it (docs/precision.md).
#pragma once

#include <string>

#include "core/graph.h"
#include "core/op_card.h"

namespace shardit {

struct Precision {
  DType compute = DType::kF32;   // matrix product inputs and outputs, weights as they travel
  DType residual = DType::kF32;  // the residual stream
  DType reduce = DType::kF32;    // a micro-batch's weight gradient before it is folded
  bool tf32 = false;             // products of fp32 operands by way of TF32; decides no type

  DType of(Role role, DType as_built) const;
};

// Of the op cast.
struct CastAttrs : Attrs {
  DType dtype = DType::kF32;
  std::string text() const override { return name_of(dtype); }
};

// Rebuilds the graph with every value in the type of its role, inserting `cast` nodes where a consumer wants another
// type than the producer gives; one cast per (value, type).
Graph apply_precision(const Graph& graph, const Precision& precision);

}  // namespace shardit

// Reverse-mode differentiation of a pure graph, from the cards' gradient rules.
#pragma once

#include <string>
#include <vector>

#include "core/graph.h"

namespace shardit {

// Appends the backward of scalar `loss` and returns, for each of `wrt`, the gradient of its shape. Contributions to a
// value that is used several times are summed in consumer order. A `wrt` that the loss does not depend on is an error.
std::vector<Value> differentiate(Graph& graph, Value loss, const std::vector<Value>& wrt);

// The same from a given gradient of any value instead of 1.
std::vector<Value> backpropagate(Graph& graph, const std::vector<Value>& of, const std::vector<Value>& dof,
                                 const std::vector<Value>& wrt);

}  // namespace shardit

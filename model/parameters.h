// A model's weights inside a graph: one input per unit, seen as named tensors. A unit is taken apart where the formula
// first uses it, so that its gradient is whole as soon as its own backward is.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "core/graph.h"
#include "core/layout.h"
#include "core/op_card.h"

namespace shardit {

class Parameters {
 public:
  // The buffers "<source>.<unit>" hold the units: "param" (the weights as they travel, in the compute type), "master"
  // (fp32) or "ema.<name>" (fp32; a cast to the compute type is inserted by the precision pass).
  Parameters(Graph& graph, const Layout& layout, const std::string& source);

  Value operator()(const std::string& name) const;            // "blocks.7.attn.qkv.weight"
  const std::vector<Value>& units() const { return units_; }  // what gradients are taken of

 private:
  struct Place {
    size_t unit, tensor;
  };
  void take_apart(size_t unit) const;

  Layout layout_;
  std::vector<Value> units_;
  std::map<std::string, Place> places_;
  mutable std::vector<std::vector<Value>> tensors_;  // by unit, empty until used
};

// The buffer of a unit, as above.
std::string unit_buffer(const std::string& source, const Unit& unit);

}  // namespace shardit

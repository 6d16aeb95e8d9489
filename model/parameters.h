// A model's weights inside a graph: one input per unit, seen as named tensors.
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
  std::vector<Value> units_;
  std::map<std::string, Value> by_name_;
};

// The buffer of a unit, as above.
std::string unit_buffer(const std::string& source, const Unit& unit);

}  // namespace shardit

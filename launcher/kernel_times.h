// How long kernels take on this machine, measured node by node while one rank trains; and of kernels that were not
// measured, such as those on a shard of another size, by the cost on their card.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "core/op_card.h"
#include "core/program.h"

namespace shardit {

class KernelTimes {
 public:
  // What is the same kernel: card, attributes and types are equal.
  struct Kernel {
    std::string card, attributes;
    std::vector<Type> in, out;
    Cost cost;               // of one run
    std::vector<double> ms;  // of each
  };

  // One run of a node of `graph`.
  void add(const Graph& graph, const Node& node, double ms);

  // The median of the same kernel. Else what its card's kernels take per unit of their cost, times its cost; of a card
  // that never ran, what all that move bytes take.
  double ms(const Graph& graph, const Node& node) const;

  std::vector<const Kernel*> kernels() const;  // all that ran, by card

 private:
  double ms_per_cost(const std::string& card) const;  // 0: nothing was measured

  std::map<std::string, Kernel> kernels_;  // by key
};

// The element type of a node's products, which is that of its first input.
DType type_of_products(const std::vector<Type>& in);

// Runs this graph of the program `times` times and adds every node's time. The device computes node by node then.
void measure_kernels(Program& program, int graph, int times, KernelTimes& kernels);

}  // namespace shardit

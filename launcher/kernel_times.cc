#include "launcher/kernel_times.h"

#include "launcher/median.h"
#include "launcher/progress.h"

namespace shardit {
namespace {

std::string key_of(const NodeTypes& types, const Node& node) {
  std::string key = std::string(node.card->name) + " " + (node.attrs ? node.attrs->text() : "");
  for (const Type& type : types.in) key += " " + type.str();
  key += " ->";
  for (const Type& type : types.out) key += " " + type.str();
  return key;
}

// Products are bound by flops, the rest by bytes.
double cost_of(const Node& node, const NodeTypes& types) {
  const Cost cost = node.card->cost(types);
  return cost.matmul_flops > 0 ? cost.matmul_flops : cost.bytes;
}

}  // namespace

void KernelTimes::add(const Graph& graph, const Node& node, double ms) {
  const NodeTypes types = types_of(graph, node);
  Kernel& kernel = kernels_[key_of(types, node)];
  kernel.card = node.card->name;
  kernel.cost = cost_of(node, types);
  kernel.ms.push_back(ms);
}

double KernelTimes::ms(const Graph& graph, const Node& node) const {
  const NodeTypes types = types_of(graph, node);
  if (const auto same = kernels_.find(key_of(types, node)); same != kernels_.end()) return median(same->second.ms);
  const double of_card = ms_per_cost(node.card->name);
  return cost_of(node, types) * (of_card > 0 ? of_card : ms_per_cost(""));
}

double KernelTimes::ms_per_cost(const std::string& card) const {
  double ms = 0, cost = 0;
  for (const auto& [key, kernel] : kernels_) {
    if (!card.empty() && kernel.card != card) continue;
    ms += median(kernel.ms);
    cost += kernel.cost;
  }
  return cost > 0 ? ms / cost : 0;
}

void measure_kernels(Program& program, const std::string& name, int times, KernelTimes& kernels) {
  const int index = program.index_of(name);
  const Graph& graph = program.graph(index);
  double before = 0;
  program.observe([&](const Node& node, std::span<const TensorRef>) {
    kernels.add(graph, node, (steady_seconds() - before) * 1e3);
    before = steady_seconds();  // what add takes is not counted
  });
  for (int i = 0; i < times; ++i) {
    before = steady_seconds();
    program.run(index);
  }
  program.observe(nullptr);
}

}  // namespace shardit

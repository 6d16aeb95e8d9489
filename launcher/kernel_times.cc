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
double decisive(const Cost& cost) { return cost.matmul_flops > 0 ? cost.matmul_flops : cost.bytes; }

}  // namespace

void KernelTimes::add(const Graph& graph, const Node& node, double ms) {
  const NodeTypes types = types_of(graph, node);
  const auto [it, fresh] = kernels_.try_emplace(key_of(types, node));
  Kernel& kernel = it->second;
  if (fresh)
    kernel = {node.card->name, node.attrs ? node.attrs->text() : "", types.in, types.out, node.card->cost(types)};
  kernel.ms.push_back(ms);
}

double KernelTimes::ms(const Graph& graph, const Node& node) const {
  const NodeTypes types = types_of(graph, node);
  if (const auto same = kernels_.find(key_of(types, node)); same != kernels_.end()) return median(same->second.ms);
  const double of_card = ms_per_cost(node.card->name);
  return decisive(node.card->cost(types)) * (of_card > 0 ? of_card : ms_per_cost(""));
}

std::vector<const KernelTimes::Kernel*> KernelTimes::kernels() const {
  std::vector<const Kernel*> all;
  for (const auto& [key, kernel] : kernels_) all.push_back(&kernel);
  return all;
}

double KernelTimes::ms_per_cost(const std::string& card) const {
  double ms = 0, cost = 0;
  for (const auto& [key, kernel] : kernels_) {
    if (!card.empty() && kernel.card != card) continue;
    ms += median(kernel.ms);
    cost += decisive(kernel.cost);
  }
  return cost > 0 ? ms / cost : 0;
}

DType type_of_products(const std::vector<Type>& in) { return in.empty() ? DType::kF32 : in.front().dtype; }

void measure_kernels(Program& program, int index, int times, KernelTimes& kernels) {
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

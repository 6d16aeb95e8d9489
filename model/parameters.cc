#include "model/parameters.h"

#include <glog/logging.h>
#include "ops/ops.h"

namespace shardit {

std::string unit_buffer(const std::string& source, const Unit& unit) { return source + "." + unit.name; }

Parameters::Parameters(Graph& graph, const Layout& layout, const std::string& source)
    : layout_(layout),
      tensors_(layout.units.size()) {
  const bool travels = source == "param";
  const BufferClass buffer_class = source.starts_with("ema") ? BufferClass::kEma : BufferClass::kParameters;
  for (size_t u = 0; u < layout_.units.size(); ++u) {
    const Unit& unit = layout_.units[u];
    units_.push_back(input(graph, unit_buffer(source, unit), {graph.real(), {unit.elements()}}, buffer_class,
                           travels ? Role::kCompute : Role::kExact));
    for (size_t i = 0; i < unit.params.size(); ++i) places_[unit.params[i].name] = {u, i};
  }
}

Value Parameters::operator()(const std::string& name) const {
  const auto it = places_.find(name);
  CHECK(it != places_.end()) << "the layout has no tensor " << name;
  const auto [unit, tensor] = it->second;
  if (tensors_[unit].empty()) take_apart(unit);
  return tensors_[unit][tensor];
}

// Under the unit's own label, and in no unit: recomputation has nothing to gain from another view of the same bytes.
void Parameters::take_apart(size_t unit) const {
  Graph& graph = *units_[unit].graph;
  Node where = graph.producer(units_[unit].id);
  where.label = layout_.units[unit].name;
  const Graph::Scope scope = graph.scope_of(where, "");
  tensors_[unit] = unpack(units_[unit], layout_.units[unit]);
}

}  // namespace shardit

#include "model/parameters.h"

#include <glog/logging.h>
#include "ops/ops.h"

namespace shardit {

std::string unit_buffer(const std::string& source, const Unit& unit) { return source + "." + unit.name; }

Parameters::Parameters(Graph& graph, const Layout& layout, const std::string& source) {
  const bool travels = source == "param";
  const BufferClass buffer_class = source.starts_with("ema") ? BufferClass::kEma : BufferClass::kParameters;
  for (const Unit& unit : layout.units) {
    const Graph::Scope scope = graph.scope(unit.name);
    units_.push_back(input(graph, unit_buffer(source, unit), {graph.real(), {unit.elements()}}, buffer_class,
                           travels ? Role::kCompute : Role::kExact));
    const std::vector<Value> tensors = unpack(units_.back(), unit);
    for (size_t i = 0; i < tensors.size(); ++i) by_name_[unit.params[i].name] = tensors[i];
  }
}

Value Parameters::operator()(const std::string& name) const {
  const auto it = by_name_.find(name);
  CHECK(it != by_name_.end()) << "the layout has no tensor " << name;
  return it->second;
}

}  // namespace shardit

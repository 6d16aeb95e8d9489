#include "core/layout.h"

#include <utility>

namespace shardit {

void Unit::add(std::string param_name, Shape shape, Init init) {
  params.push_back({std::move(param_name), shape, init, chunks});
  chunks += params.back().chunks();
}

int64_t Layout::parameters() const {
  int64_t total = 0;
  for (const Unit& unit : units)
    for (const Param& param : unit.params) total += param.numel();
  return total;
}

int64_t Layout::elements() const {
  int64_t total = 0;
  for (const Unit& unit : units) total += unit.elements();
  return total;
}

const Param* Layout::find(const std::string& name) const {
  for (const Unit& unit : units)
    for (const Param& param : unit.params)
      if (param.name == name) return &param;
  return nullptr;
}

}  // namespace shardit

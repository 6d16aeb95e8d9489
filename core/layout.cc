#include "core/layout.h"

#include <algorithm>
#include <utility>

#include <glog/logging.h>

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

Layout Layout::padded(int shards) const {
  Layout layout = *this;
  for (Unit& unit : layout.units) unit.chunks = (unit.chunks + shards - 1) / shards * shards;
  return layout;
}

std::vector<ParamPart> parts_in_shard(const Unit& unit, int shard, int shards) {
  CHECK_EQ(unit.chunks % shards, 0) << unit.name << " is not padded for " << shards << " shards";
  const int64_t size = unit.shard_elements(shards), begin = shard * size, end = begin + size;
  std::vector<ParamPart> parts;
  for (const Param& param : unit.params) {
    const int64_t from = std::max(begin, param.offset()), to = std::min(end, param.offset() + param.numel());
    if (from < to) parts.push_back({&param, from - param.offset(), to - from, from - begin});
  }
  return parts;
}

}  // namespace shardit

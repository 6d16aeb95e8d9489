#include "dist/unit_reader.h"

#include <algorithm>

#include <glog/logging.h>
#include "core/op_card.h"
#include "ops/ops.h"

namespace shardit {
namespace {

int find_input(const Graph& graph, const std::string& buffer) {
  for (int n = 0; n < graph.node_count(); ++n)
    if (graph.node(n).card == &input_card && graph.node(n).attr<InputAttrs>().name == buffer) return n;
  return -1;
}

void follow(const Graph& graph, const std::vector<std::vector<int>>& consumers, UnitReader& reader) {
  reader.whole = graph.node(reader.input).out[0];
  const std::vector<int>& first = consumers[reader.whole];
  if (first.size() == 1 && graph.node(first[0]).card == &cast_card) {
    reader.cast = first[0];
    reader.whole = graph.node(reader.cast).out[0];
  }
  for (int n : consumers[reader.whole]) {
    CHECK(graph.node(n).card != &cast_card) << graph.node(n).label << " casts a unit that others read as it is";
    if (graph.node(n).card != &unpack_card) {
      reader.uses.push_back(n);
      continue;
    }
    reader.views.push_back(n);
    for (int part : graph.node(n).out)
      reader.uses.insert(reader.uses.end(), consumers[part].begin(), consumers[part].end());
  }
  std::sort(reader.uses.begin(), reader.uses.end());
}

}  // namespace

bool UnitReader::gone_with_the_shard(int node) const {
  return node == input || node == cast || std::find(views.begin(), views.end(), node) != views.end();
}

std::vector<UnitReader> find_unit_readers(const Graph& graph, const Layout& layout, const std::string& source) {
  const auto consumers = graph.consumers();
  std::vector<UnitReader> readers;
  for (const Unit& unit : layout.units) {
    UnitReader reader{.unit = &unit, .input = find_input(graph, source + "." + unit.name)};
    if (reader.input < 0) continue;
    follow(graph, consumers, reader);
    if (!reader.uses.empty()) readers.push_back(std::move(reader));
  }
  return readers;
}

}  // namespace shardit

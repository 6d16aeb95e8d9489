// What the kernels of pack know of it.
#pragma once

#include <string>
#include <vector>

#include "core/graph.h"
#include "core/layout.h"

namespace shardit {

struct UnitAttrs : Attrs {
  Unit unit;
  std::vector<int> input;  // of pack: which input is tensor i; -1: none, it is zero
  std::string text() const override {
    std::string missing;
    for (size_t i = 0; i < input.size(); ++i)
      if (input[i] < 0) missing += (missing.empty() ? " without " : ",") + unit.params[i].name;
    return unit.name + missing;
  }
};

// The stretches of the flat buffer in which no given tensor lies.
template <typename F> void for_gaps(const UnitAttrs& a, F&& gap) {
  int64_t covered = 0;
  for (size_t i = 0; i < a.input.size(); ++i) {
    if (a.input[i] < 0) continue;
    const Param& p = a.unit.params[i];
    gap(covered, p.offset());
    covered = p.offset() + p.numel();
  }
  gap(covered, a.unit.elements());
}

}  // namespace shardit

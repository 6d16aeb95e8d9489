// What the kernels of cuts and joins know of them.
#pragma once

#include <numeric>
#include <string>
#include <vector>

#include "core/graph.h"

namespace shardit {

inline std::string join_text(const std::vector<int64_t>& sizes) {
  std::string text;
  for (int64_t s : sizes) text += (text.empty() ? "" : "+") + std::to_string(s);
  return text;
}

// The pieces of an axis. Along the first axis, which layouts divide, `sizes` is their smallest ratio.
struct PiecesAttrs : Attrs {
  std::vector<int64_t> sizes;
  std::vector<int> input;  // of a join: which input is piece i; -1: none, it is zeros
  int64_t total() const { return std::accumulate(sizes.begin(), sizes.end(), int64_t{0}); }
  std::string text() const override {
    std::string missing;
    for (size_t i = 0; i < input.size(); ++i)
      if (input[i] < 0) missing += " without " + std::to_string(i);
    return join_text(sizes) + missing;
  }
};

}  // namespace shardit

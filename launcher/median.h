// Of timings: what a run typically takes, whatever disturbed single ones.
#pragma once

#include <algorithm>
#include <vector>

namespace shardit {

// The upper one of two middle values. REQUIRES: not empty.
inline double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<long>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

}  // namespace shardit

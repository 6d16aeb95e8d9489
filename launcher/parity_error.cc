#include "launcher/parity_error.h"

#include <algorithm>
#include <cmath>

namespace shardit {

double relative_error(const std::vector<float>& ours, const std::vector<float>& reference, double least_scale) {
  double worst = 0, scale = least_scale;
  for (size_t i = 0; i < reference.size(); ++i) {
    const double d = std::fabs(static_cast<double>(ours[i]) - static_cast<double>(reference[i]));
    worst = std::isnan(d) ? INFINITY : std::max(worst, d);
    scale = std::max(scale, std::fabs(static_cast<double>(reference[i])));
  }
  return scale > 0 ? worst / scale : worst;
}

}  // namespace shardit

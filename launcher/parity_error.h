// How far our numbers are from the reference's.
#pragma once

#include <vector>

namespace shardit {

// Largest difference over the largest magnitude of the reference, or over `least_scale` if that is larger. A NaN on
// either side is an infinite error.
double relative_error(const std::vector<float>& ours, const std::vector<float>& reference, double least_scale = 0);

}  // namespace shardit

// Elements of any dtype as doubles: exact for all but 64-bit integers beyond 2^53.
#pragma once

#include <cstdint>
#include <vector>

#include "core/dtype.h"

namespace shardit {

void widen(const void* elements, DType dtype, int64_t count, std::vector<double>& out);

}  // namespace shardit

// The header of a npy array (numpy/lib/format.py, versions 1 and 2): little-endian, C order.
#pragma once

#include <functional>
#include <string>

#include "core/dtype.h"
#include "core/shape.h"

namespace shardit {

struct NpyHeader {
  DType dtype = DType::kU8;
  Shape shape;
};

// Version 1, padded to a multiple of 64 bytes as numpy does. REQUIRES: dtype is uint8, int32, int64, fp32 or fp64.
std::string npy_header(const NpyHeader& header);

// Takes the header's bytes from `read`, to its end and no further. `what` names the array in messages. Throws IoError
// for anything but version 1 or 2, the dtypes above, C order and at most Shape::kMaxRank extents.
NpyHeader read_npy_header(const std::function<void(void* to, size_t bytes)>& read, const std::string& what);

}  // namespace shardit

// The format's names of element types: "F32", "BF16", ….
#pragma once

#include <optional>
#include <string>

#include "core/dtype.h"

namespace shardit {

const char* safetensors_name(DType dtype);
std::optional<DType> dtype_from_safetensors(const std::string& name);  // nothing for a name we do not support

}  // namespace shardit

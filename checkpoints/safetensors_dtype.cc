#include "checkpoints/safetensors_dtype.h"

#include <glog/logging.h>

namespace shardit {
namespace {

struct Name {
  DType dtype;
  const char* text;
};
constexpr Name kNames[] = {{DType::kF32, "F32"}, {DType::kBF16, "BF16"}, {DType::kF16, "F16"}, {DType::kF64, "F64"},
                           {DType::kI32, "I32"}, {DType::kI64, "I64"},   {DType::kU8, "U8"}};

}  // namespace

const char* safetensors_name(DType dtype) {
  for (const Name& name : kNames)
    if (name.dtype == dtype) return name.text;
  LOG(FATAL) << "no safetensors name for " << name_of(dtype);
}

std::optional<DType> dtype_from_safetensors(const std::string& text) {
  for (const Name& name : kNames)
    if (text == name.text) return name.dtype;
  return std::nullopt;
}

}  // namespace shardit

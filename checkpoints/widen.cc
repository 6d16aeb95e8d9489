#include "checkpoints/widen.h"

#include <type_traits>

namespace shardit {
namespace {

template <typename T> void widen_all(const void* elements, std::vector<double>& out) {
  const T* from = static_cast<const T*>(elements);
  for (double& to : out) {
    if constexpr (std::is_class_v<T>)
      to = static_cast<float>(*from++);
    else
      to = static_cast<double>(*from++);
  }
}

}  // namespace

void widen(const void* elements, DType dtype, int64_t count, std::vector<double>& out) {
  out.resize(count);
  switch (dtype) {
    case DType::kF32:
      return widen_all<float>(elements, out);
    case DType::kBF16:
      return widen_all<BF16>(elements, out);
    case DType::kF16:
      return widen_all<F16>(elements, out);
    case DType::kF64:
      return widen_all<double>(elements, out);
    case DType::kI32:
      return widen_all<int32_t>(elements, out);
    case DType::kI64:
      return widen_all<int64_t>(elements, out);
    case DType::kU8:
      return widen_all<uint8_t>(elements, out);
  }
}

}  // namespace shardit

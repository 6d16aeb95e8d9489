#include "launcher/nonfinite.h"

#include <cmath>

namespace shardit {
namespace {

template <typename T> bool finite(const TensorRef& tensor) {
  const T* x = tensor.as<T>();
  for (int64_t i = 0; i < tensor.numel(); ++i)
    if (!std::isfinite(static_cast<double>(x[i]))) return false;
  return true;
}

}  // namespace

bool all_finite(const TensorRef& tensor) {
  switch (tensor.dtype()) {
    case DType::kF32:
      return finite<float>(tensor);
    case DType::kBF16:
      return finite<BF16>(tensor);
    case DType::kF16:
      return finite<F16>(tensor);
    case DType::kF64:
      return finite<double>(tensor);
    default:
      return true;
  }
}

std::optional<std::string> first_nonfinite(Program& program, int graph, int slot) {
  std::optional<std::string> found;
  program.observe([&](const Node& node, std::span<const TensorRef> out) {
    for (size_t i = 0; i < out.size() && !found; ++i)
      if (!all_finite(program.on_host(out[i])))
        found = node.label + " (" + node.card->name + "), output " + std::to_string(i);
  });
  program.run(graph, slot);
  program.observe(nullptr);
  return found;
}

}  // namespace shardit

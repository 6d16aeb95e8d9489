#include "checkpoints/parts.h"

namespace shardit {

std::vector<TensorPart> whole_parts(std::span<const StateTensor> tensors) {
  std::vector<TensorPart> parts;
  for (const StateTensor& tensor : tensors)
    parts.push_back({tensor.name, tensor.dtype, tensor.shape, 0, tensor.shape.numel(), tensor.data});
  return parts;
}

std::vector<TensorPart> shard_parts(const std::string& kind, const Unit& unit, int shard, int shards, float* memory) {
  const std::vector<ParamPart> held = parts_in_shard(unit, shard, shards);
  std::vector<TensorPart> parts;
  auto next = held.begin();
  for (const Param& param : unit.params) {
    TensorPart part{kind + "/" + param.name, DType::kF32, param.shape};
    if (next != held.end() && next->param == &param) {
      part.first = next->first;
      part.count = next->count;
      part.data = memory + next->offset;
      ++next;
    }
    parts.push_back(std::move(part));
  }
  return parts;
}

std::string stored_name(const std::string& name, const Shape& shape, int64_t first, int64_t count) {
  if (first == 0 && count == shape.numel()) return name;
  std::string part = name;
  return part.append("@").append(std::to_string(first));
}

}  // namespace shardit

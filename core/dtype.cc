#include "core/dtype.h"

#include "core/error.h"

namespace shardit {
namespace {

struct Info {
  DType dtype;
  const char* name;
  size_t bytes;
  bool floating;
};

constexpr Info kInfos[] = {
    {DType::kF32, "fp32", 4, true},  {DType::kBF16, "bf16", 2, true},  {DType::kF16, "fp16", 2, true},
    {DType::kF64, "fp64", 8, true},  {DType::kI32, "int32", 4, false}, {DType::kI64, "int64", 8, false},
    {DType::kU8, "uint8", 1, false},
};

const Info& info(DType dtype) { return kInfos[static_cast<int>(dtype)]; }

}  // namespace

size_t size_of(DType dtype) { return info(dtype).bytes; }
const char* name_of(DType dtype) { return info(dtype).name; }
bool is_floating(DType dtype) { return info(dtype).floating; }

DType dtype_from_name(const std::string& name) {
  for (const Info& i : kInfos)
    if (name == i.name) return i.dtype;
  throw UserError("unknown element type '" + name + "': expected fp32, bf16, fp16, fp64, int32, int64 or uint8");
}

// binary32 -> binary16, round to nearest even.
F16::F16(float value) {
  uint32_t u;
  std::memcpy(&u, &value, sizeof u);
  const uint16_t sign = static_cast<uint16_t>((u >> 16) & 0x8000u);
  const uint32_t magnitude = u & 0x7fffffffu;
  if (magnitude > 0x7f800000u) {  // NaN
    bits = sign | 0x7e00u;
  } else if (magnitude >= 0x477ff000u) {  // rounds to 65520 or more: infinity
    bits = sign | 0x7c00u;
  } else if (magnitude >= 0x38800000u) {  // normal
    const uint32_t rounded = magnitude + 0xfffu + ((magnitude >> 13) & 1u);
    bits = static_cast<uint16_t>(sign | ((rounded - 0x38000000u) >> 13));
  } else {  // subnormal: adding 0.5 aligns the mantissa, and the addition rounds to nearest even
    float absolute;
    std::memcpy(&absolute, &magnitude, sizeof absolute);
    absolute += 0.5f;
    uint32_t aligned;
    std::memcpy(&aligned, &absolute, sizeof aligned);
    bits = static_cast<uint16_t>(sign | (aligned - 0x3f000000u));
  }
}

F16::operator float() const {
  const uint32_t sign = static_cast<uint32_t>(bits & 0x8000u) << 16;
  const uint32_t magnitude = bits & 0x7fffu;
  if (magnitude < 0x0400u) {  // zero or subnormal: exact in binary32
    const float value = static_cast<float>(magnitude) * 0x1p-24f;
    return sign ? -value : value;
  }
  const uint32_t exponent_bias = magnitude >= 0x7c00u ? 0x70000000u : 0x38000000u;  // infinity and NaN : normal
  const uint32_t u = sign | ((magnitude << 13) + exponent_bias);
  float value;
  std::memcpy(&value, &u, sizeof value);
  return value;
}

}  // namespace shardit

// Element types of tensors, and the two 16-bit floats as C++ types.
//
// Conversions round to nearest even, keep infinities, and turn every NaN into a quiet NaN, so that a value has
// the same bits whether a CPU loop, a library or a GPU converted it.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>

#include "core/host_device.h"

namespace shardit {

enum class DType : uint8_t { kF32, kBF16, kF16, kF64, kI32, kI64, kU8 };

struct BF16 {
  uint16_t bits = 0;
  BF16() = default;
  SHARDIT_HOST_DEVICE explicit BF16(float value) {
    uint32_t u;
    memcpy(&u, &value, sizeof u);
    const uint32_t rounded = (u + 0x7fffu + ((u >> 16) & 1u)) >> 16;
    const bool is_nan = (u & 0x7fffffffu) > 0x7f800000u;
    bits = static_cast<uint16_t>(is_nan ? 0x7fffu : rounded);
  }
  SHARDIT_HOST_DEVICE operator float() const {
    const uint32_t u = static_cast<uint32_t>(bits) << 16;
    float value;
    memcpy(&value, &u, sizeof value);
    return value;
  }
};

struct F16 {
  uint16_t bits = 0;
  F16() = default;
  explicit F16(float value);
  operator float() const;
};

size_t size_of(DType dtype);       // bytes of one element
const char* name_of(DType dtype);  // "fp32", "bf16", …: the names configs and dumps use
bool is_floating(DType dtype);
DType dtype_from_name(const std::string& name);  // throws UserError on an unknown name

template <typename T> struct DTypeOf;
template <> struct DTypeOf<float> { static constexpr DType value = DType::kF32; };
template <> struct DTypeOf<BF16> { static constexpr DType value = DType::kBF16; };
template <> struct DTypeOf<F16> { static constexpr DType value = DType::kF16; };
template <> struct DTypeOf<double> { static constexpr DType value = DType::kF64; };
template <> struct DTypeOf<int32_t> { static constexpr DType value = DType::kI32; };
template <> struct DTypeOf<int64_t> { static constexpr DType value = DType::kI64; };
template <> struct DTypeOf<uint8_t> { static constexpr DType value = DType::kU8; };

}  // namespace shardit

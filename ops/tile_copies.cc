#include "ops/tile_copies.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include <glog/logging.h>

namespace shardit {
namespace {

constexpr int64_t kPageBytes = 4096;

int64_t rounded_up(int64_t n, int64_t multiple) { return (n + multiple - 1) / multiple * multiple; }

// Whole cache lines, and not a multiple of a quarter of a page.
int64_t spread(int64_t elements) {
  const int64_t whole = rounded_up(elements, 16);
  return whole % 256 == 0 ? whole + 16 : whole;
}

// `along_k`: the distance of elements that follow each other along k; 1 if a line has them.
bool is_crowded(const MatrixLayout& m, int64_t along_k) {
  return along_k > 1 && along_k * static_cast<int64_t>(size_of(m.dtype)) % kPageBytes == 0;
}

}  // namespace

OperandCopy::OperandCopy(int64_t rows, int64_t columns, const MatrixLayout& original)
    : dtype_(original.dtype),
      lines_(rows),
      length_(columns),
      stride_(original.row_stride) {
  const bool by_rows = original.column_stride == 1;
  if (!by_rows) {
    CHECK_EQ(original.row_stride, 1);
    std::swap(lines_, length_);
    stride_ = original.column_stride;
  }
  copied_stride_ = spread(length_);
  layout_ = by_rows ? MatrixLayout{DType::kF32, copied_stride_, 1} : MatrixLayout{DType::kF32, 1, copied_stride_};
}

int64_t OperandCopy::bytes() const { return lines_ * copied_stride_ * static_cast<int64_t>(sizeof(float)); }

void OperandCopy::read(const std::byte* from, std::byte* to) const {
  const auto* original = reinterpret_cast<const BF16*>(from);
  auto* copy = reinterpret_cast<float*>(to);
  for (int64_t l = 0; l < lines_; ++l, copy += copied_stride_)
    if (dtype_ == DType::kF32)
      std::memcpy(copy, from + l * stride_ * static_cast<int64_t>(sizeof(float)), length_ * sizeof(float));
    else
      for (int64_t i = 0; i < length_; ++i) copy[i] = static_cast<float>(original[l * stride_ + i]);
}

void OperandCopy::write(const std::byte* from, std::byte* to) const {
  CHECK(dtype_ == DType::kBF16);
  const auto* copy = reinterpret_cast<const float*>(from);
  auto* original = reinterpret_cast<BF16*>(to);
  for (int64_t l = 0; l < lines_; ++l, copy += copied_stride_)
    for (int64_t i = 0; i < length_; ++i) original[l * stride_ + i] = BF16(copy[i]);
}

TileCopies::TileCopies(const Product& p, const LibrarySkills& skills) : product_(p) {
  const bool widens = p.a.dtype == DType::kBF16 && !skills.bf16;
  const auto copy_if = [](bool needed, std::optional<OperandCopy>& copy, int64_t rows, int64_t columns,
                          MatrixLayout& layout) {
    if (needed) layout = copy.emplace(rows, columns, layout).layout();
  };
  copy_if(widens || (!skills.crowded && is_crowded(p.a, p.a.column_stride)), a_, p.m, p.k, product_.a);
  copy_if(widens || (!skills.crowded && is_crowded(p.b, p.b.row_stride)), b_, p.k, p.n, product_.b);
  copy_if(widens && p.c.dtype == DType::kBF16, c_, p.m, p.n, product_.c);
  if (widens && p.bias) bias_.emplace(1, p.n, MatrixLayout{p.b.dtype, p.n, 1});
}

int64_t TileCopies::bytes() const {
  int64_t sum = 0;
  for (const auto* copy : {&a_, &b_, &bias_, &c_}) sum += *copy ? (*copy)->bytes() : 0;
  return sum;
}

}  // namespace shardit

#include "ops/tile_copies.h"

#include <algorithm>
#include <type_traits>
#include <utility>

#include <glog/logging.h>
#include "ops/kernel.h"
#include "ops/vector.h"

namespace shardit {
namespace {

constexpr int64_t kPageBytes = 4096;

int64_t rounded_up(int64_t n, int64_t multiple) { return (n + multiple - 1) / multiple * multiple; }

// Whole cache lines, and not a multiple of a quarter of a page.
int64_t spread(int64_t elements) {
  const int64_t whole = rounded_up(elements, 16);
  return whole % 256 == 0 ? whole + 16 : whole;
}

// Whether the lines of a b, each one k, begin a multiple of a page apart.
bool is_crowded(const MatrixLayout& b) {
  return b.row_stride > 1 && b.row_stride * static_cast<int64_t>(size_of(b.dtype)) % kPageBytes == 0;
}

}  // namespace

OperandCopy::OperandCopy(int64_t rows, int64_t columns, const MatrixLayout& original, Lines lines)
    : dtype_(original.dtype),
      transposed_(lines == Lines::kTransposed),
      lines_(rows),
      length_(columns),
      stride_(original.row_stride) {
  const bool by_rows = original.column_stride == 1;
  if (!by_rows) {
    CHECK_EQ(original.row_stride, 1);
    std::swap(lines_, length_);
    stride_ = original.column_stride;
  }
  copied_stride_ = spread(transposed_ ? lines_ : length_);
  layout_ = by_rows != transposed_ ? MatrixLayout{DType::kF32, copied_stride_, 1}
                                   : MatrixLayout{DType::kF32, 1, copied_stride_};
}

int64_t OperandCopy::bytes() const {
  return (transposed_ ? length_ : lines_) * copied_stride_ * static_cast<int64_t>(sizeof(float));
}

template <typename T> void OperandCopy::read_lines(const T* from, float* to) const {
  for (int64_t l = 0; l < lines_; ++l)
    for (int64_t i = 0; i < length_; ++i) to[l * copied_stride_ + i] = static_cast<float>(from[l * stride_ + i]);
}

// Whole squares, then what is left at both edges.
template <typename T> void OperandCopy::read_transposed(const T* from, float* to) const {
  constexpr int64_t kSide = kVectorLanes<float>;
  const int64_t lines = lines_ / kSide * kSide, length = length_ / kSide * kSide;
  for (int64_t i = 0; i < length; i += kSide)
    for (int64_t l = 0; l < lines; l += kSide)
      transpose_square(from + l * stride_ + i, stride_, to + i * copied_stride_ + l, copied_stride_);
  for (int64_t l = 0; l < lines_; ++l)
    for (int64_t i = l < lines ? length : 0; i < length_; ++i)
      to[i * copied_stride_ + l] = static_cast<float>(from[l * stride_ + i]);
}

void OperandCopy::read(const std::byte* from, std::byte* to) const {
  visit_real(dtype_, [&]<typename T>(T) {
    const auto* original = reinterpret_cast<const T*>(from);
    auto* copy = reinterpret_cast<float*>(to);
    if constexpr (!std::is_same_v<T, double>)
      transposed_ ? read_transposed(original, copy) : read_lines(original, copy);
  });
}

void OperandCopy::write(const std::byte* from, std::byte* to) const {
  CHECK(dtype_ == DType::kBF16 && !transposed_);
  const auto* copy = reinterpret_cast<const float*>(from);
  auto* original = reinterpret_cast<BF16*>(to);
  for (int64_t l = 0; l < lines_; ++l, copy += copied_stride_)
    for (int64_t i = 0; i < length_; ++i) original[l * stride_ + i] = BF16(copy[i]);
}

TileCopies::TileCopies(const Product& p, const LibrarySkills& skills) : product_(p) {
  using Lines = OperandCopy::Lines;
  const bool widens = p.a.dtype == DType::kBF16 && !skills.bf16;
  const auto copy_if = [](bool needed, std::optional<OperandCopy>& copy, int64_t rows, int64_t columns,
                          MatrixLayout& layout, Lines lines = Lines::kAsTheyAre) {
    if (needed) layout = copy.emplace(rows, columns, layout, lines).layout();
  };
  const bool turns_a = !skills.across_k && p.a.column_stride > 1, moves_b = !skills.across_k && is_crowded(p.b);
  copy_if(widens || turns_a, a_, p.m, p.k, product_.a, turns_a ? Lines::kTransposed : Lines::kAsTheyAre);
  copy_if(widens || moves_b, b_, p.k, p.n, product_.b);
  copy_if(widens && p.c.dtype == DType::kBF16, c_, p.m, p.n, product_.c);
  if (widens && p.bias) bias_.emplace(1, p.n, MatrixLayout{p.b.dtype, p.n, 1});
}

int64_t TileCopies::bytes() const {
  int64_t sum = 0;
  for (const auto* copy : {&a_, &b_, &bias_, &c_}) sum += *copy ? (*copy)->bytes() : 0;
  return sum;
}

}  // namespace shardit

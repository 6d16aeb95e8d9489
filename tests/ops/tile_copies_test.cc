#include "ops/tile_copies.h"

#include <gtest/gtest.h>

#include <vector>

namespace shardit {
namespace {

constexpr LibrarySkills kAll, kNoBf16{.bf16 = false}, kAvx2{.bf16 = false, .across_k = false};

MatrixLayout by_rows(DType dtype, int64_t stride) { return {dtype, stride, 1}; }
MatrixLayout by_columns(DType dtype, int64_t stride) { return {dtype, 1, stride}; }

// A weight gradient: a and b with a line for each k.
Product wgrad(DType dtype, int64_t a_stride, int64_t b_stride) {
  return {.m = 5,
          .n = 7,
          .k = 3,
          .a = by_columns(dtype, a_stride),
          .b = by_rows(dtype, b_stride),
          .c = by_rows(DType::kF32, 7)};
}

TEST(TileCopies, AreNotMadeOfWhatTheLibraryDoesWell) {
  EXPECT_EQ(TileCopies(wgrad(DType::kF32, 1024, 1024), kAll).bytes(), 0);
  EXPECT_EQ(TileCopies(wgrad(DType::kBF16, 2048, 2048), kAll).bytes(), 0);
}

TEST(TileCopies, PutLinesAcrossKWhereTheyPackFast) {
  const TileCopies near(wgrad(DType::kF32, 100, 100), kAvx2), far(wgrad(DType::kF32, 1024, 2048), kAvx2);
  for (const TileCopies* copies : {&near, &far}) EXPECT_EQ(copies->product().a.column_stride, 1) << "along k";
  EXPECT_EQ(near.product().b.row_stride, 100) << "stays where it is";
  EXPECT_NE(far.product().b.row_stride * 4 % 4096, 0);
  Product forward = wgrad(DType::kF32, 1024, 1024);
  forward.a = by_rows(DType::kF32, 1024);  // lines along k are packed as they come
  forward.b = by_columns(DType::kF32, 1024);
  EXPECT_EQ(TileCopies(forward, kAvx2).bytes(), 0);
}

// Every element of the operands is its own number: what the library gets is what was there.
template <typename T> void expect_copied(const Product& p, const LibrarySkills& skills) {
  const TileCopies copies(p, skills);
  std::vector<T> a(p.a.column_stride * p.k), b(p.b.row_stride * p.k), bias(7);
  std::vector<std::byte> c(p.c.row_stride * p.m * size_of(p.c.dtype));
  for (size_t i = 0; i < a.size(); ++i) a[i] = T(static_cast<float>(i % 200));
  for (size_t i = 0; i < b.size(); ++i) b[i] = T(static_cast<float>(i % 190));
  for (size_t i = 0; i < bias.size(); ++i) bias[i] = T(static_cast<float>(i));
  std::vector<std::byte> scratch(static_cast<size_t>(copies.bytes()));
  const auto bytes = [](auto& x) { return reinterpret_cast<std::byte*>(x.data()); };
  copies.run(bytes(a), bytes(b), p.bias ? bytes(bias) : nullptr, bytes(c), scratch.data(),
             [&](const std::byte* pa, const std::byte* pb, const std::byte* pbias, std::byte* pc) {
               const MatrixLayout &la = copies.product().a, &lb = copies.product().b, &lc = copies.product().c;
               const auto *wide_a = reinterpret_cast<const float*>(pa), *wide_b = reinterpret_cast<const float*>(pb);
               for (int64_t l = 0; l < p.k; ++l) {
                 for (int64_t i = 0; i < p.m; ++i)
                   EXPECT_EQ(wide_a[i * la.row_stride + l * la.column_stride],
                             static_cast<float>(a[i + l * p.a.column_stride]));
                 for (int64_t j = 0; j < p.n; ++j)
                   EXPECT_EQ(wide_b[l * lb.row_stride + j * lb.column_stride],
                             static_cast<float>(b[l * p.b.row_stride + j]));
               }
               for (int64_t j = 0; p.bias && j < p.n; ++j) EXPECT_EQ(reinterpret_cast<const float*>(pbias)[j], j);
               for (int64_t i = 0; i < p.m; ++i)
                 for (int64_t j = 0; j < p.n; ++j)
                   reinterpret_cast<float*>(pc)[i * lc.row_stride + j] = static_cast<float>(10 * i + j);
             });
  for (int64_t i = 0; i < p.m; ++i)
    for (int64_t j = 0; j < p.n; ++j) {
      const int64_t at = i * p.c.row_stride + j;
      const float got = p.c.dtype == DType::kF32 ? reinterpret_cast<float*>(c.data())[at]
                                                 : static_cast<float>(reinterpret_cast<BF16*>(c.data())[at]);
      EXPECT_EQ(got, 10 * i + j);
    }
}

TEST(TileCopies, HoldWhatTheOperandsHold) {
  expect_copied<float>(wgrad(DType::kF32, 1024, 2048), kAvx2);
  Product large = wgrad(DType::kF32, 50, 40);  // squares of 16 and rests at both edges
  large.m = 35;
  large.k = 37;
  expect_copied<float>(large, kAvx2);
  large.a.dtype = large.b.dtype = DType::kBF16;
  expect_copied<BF16>(large, kAvx2);
  Product narrow = wgrad(DType::kBF16, 9, 2048);
  narrow.c = by_rows(DType::kBF16, 11);
  narrow.bias = true;
  expect_copied<BF16>(narrow, kNoBf16);
}

}  // namespace
}  // namespace shardit

#include "launcher/ceilings.h"

#include <gtest/gtest.h>

namespace shardit {
namespace {

// 1 GFLOP/s in fp32, 4 in bf16; small copies 8 GB/s, large ones 2.
Ceilings round_numbers() {
  return {.fp32_flops_per_s = 1e9, .bf16_flops_per_s = 4e9, .copies = {{1e6, 8e9}, {1e8, 2e9}}};
}

TEST(Ceilings, AFloorIsTheLongerOfArithmeticAndBytes) {
  const Floor flops = round_numbers().floor({.matmul_flops = 2e6, .bytes = 8e6}, DType::kF32);
  EXPECT_DOUBLE_EQ(flops.ms, 2);
  EXPECT_EQ(flops.limit, Floor::Limit::kFlops);
  const Floor bytes = round_numbers().floor({.matmul_flops = 2e6, .bytes = 8e7}, DType::kF32);
  EXPECT_DOUBLE_EQ(bytes.ms, 10);
  EXPECT_EQ(bytes.limit, Floor::Limit::kBytes);
}

TEST(Ceilings, ProductsHaveTheSpeedOfTheirTypeAndTheRestThatOfFp32) {
  const Cost cost{.matmul_flops = 4e6, .flops = 3e6};
  EXPECT_DOUBLE_EQ(round_numbers().floor(cost, DType::kF32).ms, 7);
  EXPECT_DOUBLE_EQ(round_numbers().floor(cost, DType::kBF16).ms, 4);
}

TEST(Ceilings, BytesHaveTheSpeedOfACopyOfTheirSize) {
  EXPECT_DOUBLE_EQ(round_numbers().bytes_per_s(1e3), 8e9) << "smaller than any that was measured";
  EXPECT_DOUBLE_EQ(round_numbers().bytes_per_s(9e7), 8e9);
  EXPECT_DOUBLE_EQ(round_numbers().bytes_per_s(1e8), 2e9);
}

TEST(Ceilings, AreThoseOfThisMachine) {
  const auto device = make_cpu_device();
  const Ceilings c = measure_ceilings(*device, 1, false);
  EXPECT_GT(c.fp32_flops_per_s, 1e8);
  EXPECT_LT(c.fp32_flops_per_s, 1e13);
  EXPECT_GT(c.bf16_flops_per_s, 1e8);
  for (const Ceilings::Copy& copy : c.copies) {
    EXPECT_GT(copy.bytes_per_s, 1e7);
    EXPECT_LT(copy.bytes_per_s, 1e13);
  }
}

}  // namespace
}  // namespace shardit

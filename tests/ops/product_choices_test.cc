#include "ops/product_choices.h"

#include <gtest/gtest.h>

#include <set>
#include <thread>

namespace shardit {
namespace {

constexpr MatrixLayout kRows{DType::kBF16, 1152, 1}, kColumns{DType::kBF16, 1, 1152}, kOut{DType::kBF16, 3456, 1};

TEST(ProductChoices, TheKeySaysAllThatAnAlgorithmDependsOn) {
  const Product p{.m = 8192, .n = 3456, .k = 1152, .a = kRows, .b = kColumns, .c = kOut, .bias = true};
  EXPECT_EQ(key_of(p, 16), "8192x3456x1152 bf16:1152:1 bf16:1:1152 bf16:3456:1 bias align 16");
  std::set<std::string> keys = {key_of(p, 16), key_of(p, 0)};
  const auto with = [&](auto change) {
    Product other = p;
    change(other);
    EXPECT_TRUE(keys.insert(key_of(other, 16)).second) << key_of(other, 16);
  };
  with([](Product& o) { o.m = 4096; });
  with([](Product& o) { o.n = 1; });
  with([](Product& o) { o.k = 1; });
  with([](Product& o) { o.a.dtype = DType::kF32; });
  with([](Product& o) { o.a = kColumns; });
  with([](Product& o) { o.b = kRows; });
  with([](Product& o) { o.c.dtype = DType::kF32; });
  with([](Product& o) { o.c.row_stride = 3464; });
  with([](Product& o) { o.bias = false; });
  with([](Product& o) { o.tf32 = true; });
  with([](Product& o) { o.epilogue = Epilogue::kGelu; });
  with([](Product& o) { o.epilogue = Epilogue::kGeluGrad; });
}

struct Nothing : ProductChoices {
  const LibraryAlgorithm* find(const Product&, int64_t) const override { return nullptr; }
};

TEST(ProductChoices, AreInForceWhileTheyAreSaidAndForOneThread) {
  const Nothing a, b;
  EXPECT_EQ(ProductsToldBy::current(), nullptr);
  {
    const ProductsToldBy outer(&a);
    std::thread([] { EXPECT_EQ(ProductsToldBy::current(), nullptr); }).join();
    {
      const ProductsToldBy inner(&b);
      EXPECT_EQ(ProductsToldBy::current(), &b);
    }
    EXPECT_EQ(ProductsToldBy::current(), &a);
  }
  EXPECT_EQ(ProductsToldBy::current(), nullptr);
}

TEST(ProductChoices, TellOfTf32WhileTheyLive) {
  const Product single, half{.a = {.dtype = DType::kBF16}};
  {
    const ProductsToldBy outer(nullptr, true);
    EXPECT_TRUE(ProductsToldBy::as_told(single).tf32);
    EXPECT_FALSE(ProductsToldBy::as_told(half).tf32);
    const ProductsToldBy inner(nullptr);
    EXPECT_FALSE(ProductsToldBy::as_told(single).tf32);
  }
  EXPECT_FALSE(ProductsToldBy::as_told(single).tf32);
}

TEST(ProductChoices, TheShortestAndTheFirstStayInTheRace) {
  const std::vector<double> us = {9, 4, 8, 2, 3};
  EXPECT_EQ(shortest(us, 2), (std::vector<size_t>{0, 3, 4}));
  EXPECT_EQ(shortest(us, 5), (std::vector<size_t>{0, 1, 2, 3, 4}));
  EXPECT_EQ(shortest(us, 9).size(), 5u);
  EXPECT_EQ(shortest(std::vector<double>{1, 2, 3}, 1), (std::vector<size_t>{0}));
}

// What `pick` takes where only these repeat, and whom it asked.
struct Picked {
  std::optional<size_t> index;
  std::vector<size_t> asked;
};
Picked pick_from(const std::vector<double>& us, const std::set<size_t>& repeating) {
  Picked picked;
  picked.index = pick(us, [&](size_t i) {
    picked.asked.push_back(i);
    return repeating.contains(i);
  });
  return picked;
}

TEST(ProductChoices, TheFastestThatRepeatsIsTakenAndNoOtherProven) {
  const Picked fastest = pick_from({10, 7, 5, 6}, {0, 1, 2, 3});
  EXPECT_EQ(fastest.index, 2u);
  EXPECT_EQ(fastest.asked, (std::vector<size_t>{2}));
  const Picked third = pick_from({10, 7, 5, 6}, {0, 1});
  EXPECT_EQ(third.index, 1u);
  EXPECT_EQ(third.asked, (std::vector<size_t>{2, 3, 1}));
  EXPECT_EQ(pick_from({10, 7, 5, 6}, {}).index, std::nullopt);
  EXPECT_EQ(pick_from({}, {}).index, std::nullopt);
}

TEST(ProductChoices, TheLibrarysOwnChoiceStaysUnlessAnotherSavesOnePercent) {
  EXPECT_EQ(pick_from({100, 99.5}, {0, 1}).index, 0u);
  EXPECT_EQ(pick_from({100, 98.5}, {0, 1}).index, 1u);
  EXPECT_EQ(pick_from({100, 99.5}, {1}).index, 1u);
}

}  // namespace
}  // namespace shardit

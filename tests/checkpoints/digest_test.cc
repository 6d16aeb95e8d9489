#include "checkpoints/digest.h"

#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "checkpoints/crc32c.h"
#include "core/layout.h"

namespace shardit {
namespace {

std::vector<float> ramp(int64_t count) {
  std::vector<float> values(count);
  for (int64_t i = 0; i < count; ++i) values[i] = static_cast<float>(i % 1000);
  return values;
}

ChunkSum sum_of(const std::vector<float>& values) {
  return hash_chunks(values.data(), DType::kF32, 0, static_cast<int64_t>(values.size()));
}

TEST(Crc32c, HasThePublishedCheckValue) {
  EXPECT_EQ(crc32c("123456789", 9), 0xe3069283u);
  EXPECT_EQ(crc32c("", 0), 0u);
  EXPECT_EQ(crc32c("6789", 4, crc32c("12345", 5)), 0xe3069283u);
}

TEST(Digest, IsTheSameForEveryCutIntoChunks) {
  const std::vector<float> values = ramp(5 * kChunk + 17);
  const int64_t numel = static_cast<int64_t>(values.size());
  for (int64_t cut = kChunk; cut < numel; cut += kChunk) {
    ChunkSum tail = hash_chunks(values.data() + cut, DType::kF32, cut, numel - cut);
    tail += hash_chunks(values.data(), DType::kF32, 0, cut);  // in either order
    EXPECT_EQ(tail, sum_of(values));
  }
}

TEST(Digest, ChangesWithEveryBit) {
  std::vector<float> values = ramp(kChunk + 8);
  const ChunkSum before = sum_of(values);
  for (size_t byte = 0; byte < values.size() * 4; byte += 7)
    for (int bit = 0; bit < 8; ++bit) {
      reinterpret_cast<uint8_t*>(values.data())[byte] ^= 1 << bit;
      EXPECT_FALSE(sum_of(values) == before);
      reinterpret_cast<uint8_t*>(values.data())[byte] ^= 1 << bit;
    }
}

TEST(Digest, IgnoresThePaddingOfTheLastChunk) {
  std::vector<float> values = ramp(2 * kChunk);
  const int64_t numel = kChunk + 100;
  const ChunkSum before = hash_chunks(values.data(), DType::kF32, 0, numel);
  values[numel] = -1;
  EXPECT_EQ(hash_chunks(values.data(), DType::kF32, 0, numel), before);
  EXPECT_FALSE(hash_chunks(values.data(), DType::kF32, 0, numel + 1) == before);
}

TEST(Digest, KnowsTheOrderOfChunks) {
  std::vector<float> values(2 * kChunk, 1.0f), swapped(2 * kChunk, 2.0f);
  std::fill(values.begin() + kChunk, values.end(), 2.0f);
  std::fill(swapped.begin() + kChunk, swapped.end(), 1.0f);
  EXPECT_FALSE(sum_of(values) == sum_of(swapped));
}

TEST(Digest, BindsNameDtypeAndShape) {
  const std::vector<float> values = ramp(6);
  const ChunkSum sum = sum_of(values);
  const Digest digest = tensor_digest("a", DType::kF32, {2, 3}, sum);
  EXPECT_FALSE(digest == tensor_digest("b", DType::kF32, {2, 3}, sum));
  EXPECT_FALSE(digest == tensor_digest("a", DType::kI32, {2, 3}, sum));
  EXPECT_FALSE(digest == tensor_digest("a", DType::kF32, {3, 2}, sum));
  EXPECT_FALSE(digest == tensor_digest("a", DType::kF32, {6}, sum));
}

TEST(Digest, OfTheRootCoversEveryNameAndDigest) {
  const Digest one = tensor_digest("x", DType::kF32, {}, {1, 0}), two = tensor_digest("x", DType::kF32, {}, {2, 0});
  const Digest root = root_digest({{"a", one}, {"b", two}});
  EXPECT_FALSE(root == root_digest({{"a", two}, {"b", one}}));
  EXPECT_FALSE(root == root_digest({{"a", one}}));
  EXPECT_FALSE(root == root_digest({{"a", one}, {"c", two}}));
}

TEST(Digest, SumsCarryIntoTheHighHalf) {
  ChunkSum sum{~0ull, 1};
  sum += {1, 1};
  EXPECT_EQ(sum, (ChunkSum{0, 3}));
}

// The format on disk: these numbers may only change together with the manifest's version.
TEST(Digest, IsTheOneThatOldCheckpointsHave) {
  const std::vector<float> values = ramp(3 * kChunk + 5);
  const Digest digest = tensor_digest("params/w", DType::kF32, {3077}, sum_of(values));
  EXPECT_EQ(digest.hex(), "b772ea24f2aa9ce7ec20fcc93fd57d66");
  EXPECT_EQ(root_digest({{"params/w", digest}}).hex(), "e9965998b75c88d8aa6e3d380b2a4dd8");
}

}  // namespace
}  // namespace shardit

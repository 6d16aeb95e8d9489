#include "checkpoints/parts.h"

#include <gtest/gtest.h>

#include <map>

#include "tests/checkpoints/sharded_state.h"

namespace shardit {
namespace {

// Every element of every tensor lies in exactly one shard, at its place in the unit.
TEST(ShardParts, ShareOutEveryElementOnce) {
  for (int shards = 1; shards <= 7; ++shards) {
    const Layout layout = odd_layout().padded(shards);
    for (const Unit& unit : layout.units) {
      std::vector<float> flat(unit.elements());
      std::map<std::string, std::vector<bool>> held;
      for (int shard = 0; shard < shards; ++shard) {
        float* memory = flat.data() + shard * unit.shard_elements(shards);
        const std::vector<TensorPart> parts = shard_parts("adam.m", unit, shard, shards, memory);
        ASSERT_EQ(parts.size(), unit.params.size()) << "each rank knows of every tensor";
        for (size_t i = 0; i < parts.size(); ++i) {
          const TensorPart& part = parts[i];
          const Param& param = unit.params[i];
          EXPECT_EQ(part.name, "adam.m/" + param.name);
          EXPECT_TRUE(part.shape == param.shape);
          EXPECT_EQ(part.first % kChunk, 0);
          EXPECT_TRUE(part.count == 0 || part.data == flat.data() + param.offset() + part.first);
          std::vector<bool>& elements = held[part.name];
          elements.resize(param.numel());
          for (int64_t e = part.first; e < part.first + part.count; ++e) {
            EXPECT_FALSE(elements.at(e));
            elements[e] = true;
          }
        }
      }
      for (const auto& [name, elements] : held)
        EXPECT_EQ(std::count(elements.begin(), elements.end(), false), 0) << name << " in " << shards;
    }
  }
}

TEST(ShardParts, OfAUnitWithFewerChunksThanShardsLeaveTheLastOnesEmpty) {
  const Unit unit = odd_layout().padded(7).units[1];  // one chunk
  for (int shard = 0; shard < 7; ++shard)
    EXPECT_EQ(shard_parts("params", unit, shard, 7, nullptr)[0].count, shard == 0 ? 5 : 0);
}

TEST(ShardParts, OfOneShardAreTheWholeTensors) {
  for (const Unit& unit : odd_layout().units)
    for (const TensorPart& part : shard_parts("params", unit, 0, 1, nullptr)) EXPECT_TRUE(part.is_whole()) << part.name;
}

}  // namespace
}  // namespace shardit

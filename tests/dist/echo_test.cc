#include "dist/echo.h"

#include <gtest/gtest.h>

#include <vector>

namespace shardit {
namespace {

// Rank 1 of 3 by itself: what it has stands in every place.
TEST(EchoMesh, AnswersWithWhatTheRankHas) {
  const Mesh mesh = make_echo_mesh(3, 1, 1);
  Communicator& shard = *mesh.shard.communicator;
  std::vector<float> all(6), part = {4, 5};
  shard.all_gather("test", part.data(), all.data(), 8);
  EXPECT_EQ(all, (std::vector<float>{4, 5, 4, 5, 4, 5}));
  std::vector<float> in_place = {0, 0, 7, 8, 0, 0};
  shard.all_gather("test", in_place.data() + 2, in_place.data(), 8);
  EXPECT_EQ(in_place, (std::vector<float>{7, 8, 7, 8, 7, 8}));
  const std::vector<float> send = {1, 2, 3, 4, 5, 6};
  shard.all_to_all("test", send.data(), all.data(), 8);
  EXPECT_EQ(all, (std::vector<float>{3, 4, 3, 4, 3, 4}));
  shard.reduce_scatter("test", send.data(), part.data(), 2);
  EXPECT_EQ(part, (std::vector<float>{3, 4}));
}

TEST(EchoMesh, HasTheGroupsOfARealOne) {
  const Mesh mesh = make_echo_mesh(6, 4, 2);
  EXPECT_EQ(mesh.world.communicator->size(), 6);
  EXPECT_EQ(mesh.shard.communicator->rank(), 1);
  EXPECT_EQ(mesh.replicate.communicator->size(), 2);
}

}  // namespace
}  // namespace shardit

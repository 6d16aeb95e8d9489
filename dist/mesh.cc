#include "dist/mesh.h"

#include "core/error.h"

namespace shardit {

Mesh plan_mesh(int ranks, int rank, int replicas) {
  REQUIRE(replicas >= 1 && ranks % replicas == 0, "parallel.replicate_group=" + std::to_string(replicas) +
                                                      " does not divide the " + std::to_string(ranks) +
                                                      " ranks; use a divisor, most often the number of nodes");
  const int shards = ranks / replicas;
  return {.world = {"world", ranks, rank, nullptr},
          .shard = {"shard", shards, rank % shards, nullptr},
          .replicate = {"replicate", replicas, rank / shards, nullptr}};
}

Mesh make_mesh(World& world, int replicas) {
  Mesh mesh = plan_mesh(world.size(), world.rank(), replicas);
  const int shards = mesh.shard.size, first = world.rank() - mesh.shard.rank;
  std::vector<int> shard, replicate;
  for (int i = 0; i < shards; ++i) shard.push_back(first + i);
  for (int i = 0; i < replicas; ++i) replicate.push_back(i * shards + mesh.shard.rank);
  mesh.world.communicator = world.make_group("world");
  mesh.shard.communicator = world.make_group("shard", shard);
  mesh.replicate.communicator = world.make_group("replicate", replicate);
  return mesh;
}

}  // namespace shardit

#include "dist/mesh.h"

#include "core/error.h"

namespace shardit {

std::vector<int> ranks_of_shard_group(const Mesh& mesh) {
  std::vector<int> ranks;
  for (int i = 0; i < mesh.shard.size; ++i) ranks.push_back(mesh.world.rank - mesh.shard.rank + i);
  return ranks;
}

std::vector<int> ranks_of_replicate_group(const Mesh& mesh) {
  std::vector<int> ranks;
  for (int i = 0; i < mesh.replicate.size; ++i) ranks.push_back(i * mesh.shard.size + mesh.shard.rank);
  return ranks;
}

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
  mesh.world.communicator = world.make_group("world");
  mesh.shard.communicator = world.make_group("shard", ranks_of_shard_group(mesh));
  mesh.replicate.communicator = world.make_group("replicate", ranks_of_replicate_group(mesh));
  return mesh;
}

}  // namespace shardit

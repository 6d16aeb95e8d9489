// Which ranks hold which part: N ranks in `replicas` groups of `shards` neighbours. A group holds one copy of the
// sharded state, shared out among its ranks; ranks of the same place in their groups hold the same shard.
//
//   N = 8, replicas 2:   shard groups {0 1 2 3} {4 5 6 7},   replicate groups {0 4} {1 5} {2 6} {3 7}
//
// A mesh without communicators serves to plan and to look at graphs of any number of ranks.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "dist/communicator.h"
#include "dist/device_communicator.h"
#include "dist/world.h"

namespace shardit {

struct Group {
  std::string name;
  int size = 1, rank = 0;
  std::shared_ptr<Communicator> communicator;  // null in a plan
  // For memory of the ranks' devices; null where the host reaches it, and in a group of one.
  std::shared_ptr<DeviceCommunicator> on_devices = nullptr;
};

struct Mesh {
  Group world{.name = "world"}, shard{.name = "shard"}, replicate{.name = "replicate"};
  int ranks() const { return world.size; }
};

// The ranks of its groups, world numbers.
std::vector<int> ranks_of_shard_group(const Mesh& mesh);
std::vector<int> ranks_of_replicate_group(const Mesh& mesh);

// Rank `rank` of `ranks`, without communicators. REQUIRES: replicas divides ranks (a UserError).
Mesh plan_mesh(int ranks, int rank, int replicas);
// The same with communicators; collective over the world.
Mesh make_mesh(World& world, int replicas);

}  // namespace shardit

// The order in which NCCL is asked for what, and what becomes of its answers, by a double of the library
// (fake_nccl.cc): the library itself needs GPUs (tests/gpu/nccl_check.cc).
#include "dist/nccl_wire.h"

#include <dlfcn.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <span>
#include <string>
#include <vector>

#include "core/error.h"
#include "dist/thread_world.h"
#include "tests/core/queue_device.h"
#include "tests/dist/nccl/fake_nccl.h"

namespace shardit {
namespace {

template <typename Function> Function* of_fake(const char* name) {
  static void* const library = dlopen("libnccl.so.2", RTLD_NOW | RTLD_LOCAL);
  auto* const function = library ? reinterpret_cast<Function*>(dlsym(library, name)) : nullptr;
  CHECK(function) << "libnccl.so.2 is not the double: " << name;
  return function;
}

struct Device : test::QueueDevice {
  Device() : QueueDevice(0) {}
  void while_waiting(std::function<void()> look) override { this->look = std::move(look); }
  void take_memory_from(MemorySource source) override { memory = std::move(source); }
  std::function<void()> look;
  MemorySource memory;
};

class NcclWire : public testing::Test {
 protected:
  void SetUp() override { of_fake<void()>("fake_nccl_reset")(); }
  static FakeNcclCounts counts() { return of_fake<FakeNcclCounts()>("fake_nccl_counts")(); }
  static void lose_a_peer() { of_fake<void()>("fake_nccl_lose_a_peer")(); }

  // `body` on every rank, connected.
  static void on_ranks(int ranks, int replicas, const std::function<void(World&, Mesh&, Device&)>& body) {
    run_ranks(ranks, {}, [&](World& world) {
      Device device;
      Mesh mesh = make_mesh(world, replicas);
      connect_gpus(world, mesh, device);
      mesh.world.communicator->barrier("all are connected");
      body(world, mesh, device);
    });
  }
};

std::vector<float> numbers(int64_t count, int rank, int turn) {
  std::vector<float> values(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i)
    values[static_cast<size_t>(i)] = static_cast<float>((i * 7 + rank * 31 + turn) % 23);
  return values;
}

// Every collective of the group, by the ranks' hosts and by the double, which has `given` and `gpu` of as many numbers.
void expect_same(const Group& group, std::span<const float> given, std::span<float> gpu) {
  const auto part = std::ssize(given) / group.size;
  const int64_t bytes = part * static_cast<int64_t>(sizeof(float));
  std::vector<float> host(given.size());
  group.communicator->all_gather("gather", given.data(), host.data(), bytes);
  group.on_devices->all_gather("gather", given.data(), gpu.data(), bytes, nullptr);
  EXPECT_TRUE(std::ranges::equal(host, gpu)) << group.name;
  group.communicator->all_to_all("turn", given.data(), host.data(), bytes);
  group.on_devices->all_to_all("turn", given.data(), gpu.data(), bytes, nullptr);
  EXPECT_TRUE(std::ranges::equal(host, gpu)) << group.name;
  group.communicator->reduce_scatter("sum", given.data(), host.data(), part);
  group.on_devices->reduce_scatter("sum", given.data(), gpu.data(), part, nullptr);
  EXPECT_TRUE(std::ranges::equal(host, gpu)) << group.name;
}

TEST_F(NcclWire, MovesTheBytesThatTheHostsMove) {
  for (const auto& [ranks, replicas] : {std::pair{2, 1}, {2, 2}, {3, 1}, {4, 1}, {4, 2}, {6, 2}, {6, 3}, {4, 4}}) {
    on_ranks(ranks, replicas, [](World& world, Mesh& mesh, Device&) {
      for (int turn = 0; turn < 3; ++turn)
        for (const Group* group : {&mesh.shard, &mesh.world, &mesh.replicate})
          if (group->size > 1) {
            std::vector<float> got(static_cast<size_t>(5 * group->size));
            expect_same(*group, numbers(5 * group->size, world.rank(), turn), got);
          }
    });
    EXPECT_EQ(counts().alive, 0) << ranks << " ranks in " << replicas << " groups";
    EXPECT_EQ(counts().aborted, 0);
  }
}

TEST_F(NcclWire, GroupsOfOneRankHaveNoCommunicator) {
  on_ranks(2, 2, [](World&, Mesh& mesh, Device&) {
    EXPECT_FALSE(mesh.shard.on_devices);
    EXPECT_TRUE(mesh.replicate.on_devices);
    EXPECT_EQ(counts().alive, 2);  // both groups that are the whole job have one
  });
}

std::string error_of(const std::function<void()>& work) {
  try {
    work();
  } catch (const CommError& error) {
    return error.what();
  }
  return "nobody noticed";
}

TEST_F(NcclWire, TheDevicesMemoryIsKnownToEveryGroup) {
  on_ranks(4, 2, [](World& world, Mesh& mesh, Device& device) {
    constexpr size_t kNumbers = 20;
    auto* const memory = static_cast<float*>(device.memory.take(2 * kNumbers * sizeof(float)));
    std::ranges::copy(numbers(kNumbers, world.rank(), 0), memory);
    mesh.world.communicator->barrier("all have memory");
    EXPECT_EQ(counts().memory, 4);
    EXPECT_EQ(counts().registered, 12);  // with three communicators on each rank
    mesh.world.communicator->barrier("seen");
    for (const Group* group : {&mesh.world, &mesh.shard, &mesh.replicate})
      expect_same(*group, {memory, kNumbers}, {memory + kNumbers, kNumbers});
    mesh.world.communicator->barrier("done");
    EXPECT_EQ(counts().in_place, 36);  // three calls of each
    device.memory.give_back(memory);
    mesh.world.communicator->barrier("all gave it back");
    EXPECT_EQ(counts().memory, 0);
    EXPECT_EQ(counts().registered, 0);
  });
}

TEST_F(NcclWire, ItsMemoryMayOutliveTheMesh) {
  run_ranks(2, {}, [](World& world) {
    Device device;
    void *early, *late;
    {
      Mesh mesh = make_mesh(world, 1);
      connect_gpus(world, mesh, device);
      early = device.memory.take(64);
    }
    late = device.memory.take(64);
    world.make_group("middle")->barrier("both took");
    EXPECT_EQ(counts().memory, 4);
    world.make_group("end")->barrier("seen");
    for (void* memory : {early, late}) device.memory.give_back(memory);
  });
  EXPECT_EQ(counts().memory, 0);
  EXPECT_EQ(counts().registered, 0);
}

TEST_F(NcclWire, MemoryGoesBackAfterAPeerIsLost) {
  on_ranks(2, 1, [](World& world, Mesh& mesh, Device& device) {
    void* const memory = device.memory.take(64);
    mesh.world.communicator->barrier("both took");
    if (world.rank() == 0) lose_a_peer();
    mesh.world.communicator->barrier("lost");
    const std::string error = error_of(device.look);
    EXPECT_EQ(error_of([&] { device.memory.take(64); }), error);
    device.memory.give_back(memory);
  });
  EXPECT_EQ(counts().memory, 0);
  EXPECT_EQ(counts().registered, 0);
}

TEST_F(NcclWire, PutsItsCallsIntoTheLog) {
  on_ranks(4, 2, [](World& world, Mesh& mesh, Device&) {
    float given[2] = {}, got[4];
    mesh.shard.on_devices->all_gather("blocks.7", given, got, sizeof given, nullptr);
    const std::vector<Call> calls = world.calls().snapshot().calls;
    const auto ours = std::find_if(calls.begin(), calls.end(),
                                   [](const Call& call) { return std::string(call.label) == "blocks.7"; });
    ASSERT_NE(ours, calls.end());
    EXPECT_EQ(describe(*ours), "all_gather \"blocks.7\" (group nccl.shard, call 1, 8 bytes)");
    EXPECT_FALSE(ours->running());
  });
}

TEST_F(NcclWire, ALostPeerIsAnErrorOfTheCallThatWaitsForIt) {
  on_ranks(4, 2, [](World& world, Mesh& mesh, Device& device) {
    if (world.rank() == 3) return lose_a_peer();
    float given[2] = {}, got[8];
    const std::string error =
        error_of([&] { mesh.world.on_devices->all_gather("loss", given, got, sizeof given, nullptr); });
    EXPECT_EQ(error, "NCCL: all_gather \"loss\" (group nccl.world, call 1, 8 bytes) on rank " +
                         std::to_string(world.rank()) + " failed: a peer is lost\nNCCL_DEBUG=WARN makes NCCL say more");
    EXPECT_EQ(error_of([&] { mesh.shard.on_devices->all_gather("a", given, got, 8, nullptr); }), error);
    EXPECT_EQ(error_of(device.look), error);
  });
  EXPECT_EQ(counts().alive, 0);
  EXPECT_EQ(counts().aborted_alone, 0);
}

TEST_F(NcclWire, TheDeviceLooksAfterItWhileTheHostWaits) {
  on_ranks(2, 1, [](World& world, Mesh& mesh, Device& device) {
    device.look();
    mesh.world.communicator->barrier("both looked");
    if (world.rank() == 0) lose_a_peer();
    mesh.world.communicator->barrier("lost");
    EXPECT_NE(error_of(device.look).find("NCCL: group nccl.world on rank"), std::string::npos);
  });
  EXPECT_EQ(counts().aborted, 2);
}

TEST_F(NcclWire, AnErrorThatUnwindsItWaitsForNobody) {
  EXPECT_THROW(on_ranks(4, 2, [](World&, Mesh&, Device&) { throw DeviceError("of this rank"); }), DeviceError);
  EXPECT_EQ(counts().alive, 0);
  EXPECT_EQ(counts().aborted, 12);  // three on each rank
  EXPECT_EQ(counts().aborted_alone, 0);
}

TEST_F(NcclWire, TheDeviceMayOutliveTheMesh) {
  run_ranks(2, {}, [](World& world) {
    Device device;
    {
      Mesh mesh = make_mesh(world, 1);
      connect_gpus(world, mesh, device);
    }
    world.make_group("end")->barrier("end");
    EXPECT_EQ(counts().alive, 0);
    device.look();
  });
}

}  // namespace
}  // namespace shardit

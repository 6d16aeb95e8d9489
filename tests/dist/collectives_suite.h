// What every kind of world must do, as one suite. A program includes this in one file, and instantiates it there with
// the kinds that it can run: threads in dist_tests, MPI in dist_mpi_tests.
//
// Inputs are bytes and small integers that name who gave them to whom, so that every check is an equality.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <functional>
#include <future>
#include <new>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "core/random.h"
#include "dist/collectives.h"
#include "dist/mesh.h"
#include "dist/watchdog.h"
#include "dist/world.h"

namespace shardit::test {

// Counts what this program takes from the heap, all threads together.
inline std::atomic<bool> counting_heap{false};
inline std::atomic<int64_t> heap_calls{0};

struct WorldKind {
  std::string name;
  std::function<void(const std::function<void(World&)>&)> run;  // the body on every rank
};
inline void PrintTo(const WorldKind& kind, std::ostream* out) { *out << kind.name; }
inline std::string name_of_kind(const testing::TestParamInfo<WorldKind>& info) { return info.param.name; }

class Collectives : public testing::TestWithParam<WorldKind> {
 protected:
  void on_every_rank(const std::function<void(World&)>& body) { GetParam().run(body); }
};

// Nothing, less than a chunk, exactly a chunk, and some chunks more.
inline std::vector<int64_t> awkward_sizes() {
  return {0,
          1,
          3,
          4096,
          kSumChunkBytes - 4,
          kSumChunkBytes + 4,
          kChunkBytes - 1,
          kChunkBytes,
          kChunkBytes + 1,
          2 * kChunkBytes + 5};
}

// The byte number i of what `from` gives to `to`.
inline uint8_t byte_of(int from, int to, int64_t i) {
  return static_cast<uint8_t>((from * 37 + to * 101 + 11) + i * 7 + (i >> 8) * 3 + (i >> 16) * 5);
}

// A buffer of `bytes` in a frame that must stay as it is.
class Framed {
 public:
  explicit Framed(int64_t bytes) : bytes_(bytes), memory_(static_cast<size_t>(bytes) + 2 * kFrame, 0xee) {}
  uint8_t* data() { return memory_.data() + kFrame; }
  void fill(int64_t at, int64_t bytes, int from, int to) {
    for (int64_t i = 0; i < bytes; ++i) data()[at + i] = byte_of(from, to, i);
  }
  // The bytes at `at` are those that `from` gave to `to`.
  bool holds(int64_t at, int64_t bytes, int from, int to) {
    for (int64_t i = 0; i < bytes; ++i)
      if (data()[at + i] != byte_of(from, to, i)) return false;
    return true;
  }
  void scribble() { std::fill(data(), data() + bytes_, uint8_t{0xaa}); }
  bool frame_is_whole() const {
    for (size_t i = 0; i < kFrame; ++i)
      if (memory_[i] != 0xee || memory_[memory_.size() - 1 - i] != 0xee) return false;
    return true;
  }

 private:
  static constexpr size_t kFrame = 64;
  int64_t bytes_;
  std::vector<uint8_t> memory_;
};

inline void check_all_gather(Communicator& group, int64_t bytes, bool in_place) {
  const int n = group.size(), me = group.rank();
  Framed part(bytes), all(bytes * n);
  if (in_place)
    all.fill(me * bytes, bytes, me, 0);
  else
    part.fill(0, bytes, me, 0);
  group.all_gather("gather", in_place ? all.data() + me * bytes : part.data(), all.data(), bytes);
  part.scribble();
  for (int p = 0; p < n; ++p)
    EXPECT_TRUE(all.holds(p * bytes, bytes, p, 0)) << bytes << " bytes, part " << p << ", rank " << me;
  EXPECT_TRUE(part.frame_is_whole() && all.frame_is_whole());
}

inline void check_all_to_all(Communicator& group, int64_t bytes) {
  const int n = group.size(), me = group.rank();
  Framed send(bytes * n), receive(bytes * n);
  for (int p = 0; p < n; ++p) send.fill(p * bytes, bytes, me, p);
  group.all_to_all("exchange", send.data(), receive.data(), bytes);
  send.scribble();  // it is ours again: others must have what they asked for
  for (int p = 0; p < n; ++p)
    EXPECT_TRUE(receive.holds(p * bytes, bytes, p, me)) << bytes << " bytes, part " << p << ", rank " << me;
  EXPECT_TRUE(send.frame_is_whole() && receive.frame_is_whole());
}

// A term of element i of part `to`; integers below 2^24 in sum, so exact in any order.
inline float term_of(int from, int to, int64_t i) { return static_cast<float>(from * 1000 + to * 10 + i % 257 - 128); }

inline void check_reduce_scatter(Communicator& group, int64_t elements, bool in_place) {
  const int n = group.size(), me = group.rank();
  std::vector<float> send(static_cast<size_t>(elements * n)), apart(static_cast<size_t>(elements) + 2, -1.0f);
  for (int p = 0; p < n; ++p)
    for (int64_t i = 0; i < elements; ++i) send[p * elements + i] = term_of(me, p, i);
  float* const receive = in_place ? send.data() + me * elements : apart.data() + 1;
  group.reduce_scatter("sum", send.data(), receive, elements);
  if (!in_place) std::fill(send.begin(), send.end(), 1e30f);
  int64_t wrong = 0;
  for (int64_t i = 0; i < elements; ++i) {
    float sum = 0;
    for (int p = 0; p < n; ++p) sum += term_of(p, me, i);
    if (receive[i] != sum) ++wrong;
  }
  EXPECT_EQ(wrong, 0) << elements << " elements, rank " << me;
  EXPECT_TRUE(apart.front() == -1.0f && apart.back() == -1.0f);
}

inline void check_broadcast(Communicator& group, int64_t bytes, int root) {
  Framed data(bytes);
  if (group.rank() == root) data.fill(0, bytes, root, 1);
  group.broadcast("tell", data.data(), bytes, root);
  EXPECT_TRUE(data.holds(0, bytes, root, 1)) << bytes << " bytes, root " << root << ", rank " << group.rank();
  data.scribble();
  EXPECT_TRUE(data.frame_is_whole());
}

// Nobody leaves before all have come: the last to enter does so before the first to leave.
inline void check_barrier(Communicator& group) {
  using Moment = std::array<int64_t, 2>;
  std::vector<Moment> moments(static_cast<size_t>(group.size()));
  Moment& mine = moments[static_cast<size_t>(group.rank())];
  mine[0] = steady_now_ns();
  group.barrier("meet");
  mine[1] = steady_now_ns();
  group.all_gather("moments", &mine, moments.data(), sizeof(Moment));
  for (const Moment& a : moments)
    for (const Moment& b : moments) EXPECT_LE(a[0], b[1]);
}

// Calls of all kinds and drawn sizes, the same on every rank.
inline void check_mixed_calls(Communicator& group, uint64_t seed, int calls, int64_t most_bytes) {
  const Philox philox(seed, Purpose::kSynthetic);
  for (int call = 0; call < calls; ++call) {
    const int64_t bytes = integer_at(philox, call, 0, static_cast<uint32_t>(most_bytes) + 1);
    switch (integer_at(philox, call, 1, 6)) {
      case 0:
        check_all_gather(group, bytes, false);
        break;
      case 1:
        check_all_gather(group, bytes, true);
        break;
      case 2:
        check_all_to_all(group, bytes);
        break;
      case 3:
        check_reduce_scatter(group, bytes / 4, bytes % 2 == 1);
        break;
      case 4:
        check_broadcast(group, bytes, static_cast<int>(integer_at(philox, call, 2, group.size())));
        break;
      case 5:
        check_barrier(group);
        break;
    }
  }
}

TEST_P(Collectives, AllGatherPutsPartsInRankOrder) {
  on_every_rank([](World& world) {
    const auto group = world.make_group("world");
    for (int64_t bytes : awkward_sizes()) check_all_gather(*group, bytes, false);
  });
}

TEST_P(Collectives, AllGatherTakesAPartThatLiesAtItsPlace) {
  on_every_rank([](World& world) {
    const auto group = world.make_group("world");
    for (int64_t bytes : awkward_sizes()) check_all_gather(*group, bytes, true);
  });
}

TEST_P(Collectives, AllToAllTransposes) {
  on_every_rank([](World& world) {
    const auto group = world.make_group("world");
    for (int64_t bytes : awkward_sizes()) check_all_to_all(*group, bytes);
  });
}

TEST_P(Collectives, ReduceScatterSumsItsPart) {
  on_every_rank([](World& world) {
    const auto group = world.make_group("world");
    for (int64_t bytes : awkward_sizes())
      for (bool in_place : {false, true}) check_reduce_scatter(*group, bytes / 4, in_place);
  });
}

TEST_P(Collectives, BroadcastReachesAllFromAnyRoot) {
  on_every_rank([](World& world) {
    const auto group = world.make_group("world");
    for (int root = 0; root < world.size(); ++root)
      for (int64_t bytes : {int64_t{0}, int64_t{1}, kChunkBytes + 1}) check_broadcast(*group, bytes, root);
  });
}

TEST_P(Collectives, NobodyLeavesABarrierBeforeAllHaveCome) {
  on_every_rank([](World& world) {
    const auto group = world.make_group("world");
    for (int late = 0; late < world.size(); ++late) {
      if (world.rank() == late) std::this_thread::sleep_for(std::chrono::milliseconds(3));
      check_barrier(*group);
    }
  });
}

// The slots for messages are used again.
TEST_P(Collectives, LargeCallsHaveMoreChunksThanAreInFlight) {
  on_every_rank([](World& world) {
    const auto group = world.make_group("world");
    const int64_t bytes = 9 * kChunkBytes + 5;
    check_all_gather(*group, bytes, true);
    check_all_to_all(*group, bytes);
    check_reduce_scatter(*group, bytes / 4, false);
    check_broadcast(*group, bytes, world.size() - 1);
  });
}

TEST_P(Collectives, MixedCallsKeepTheirData) {
  on_every_rank([](World& world) { check_mixed_calls(*world.make_group("world"), 1, 150, 20000); });
}

// Every divisor of the ranks makes shard and replicate groups; data stays within each.
TEST_P(Collectives, GroupsOfAMeshAreApart) {
  on_every_rank([](World& world) {
    for (int replicas = 1; replicas <= world.size(); ++replicas) {
      if (world.size() % replicas != 0) continue;
      const Mesh mesh = make_mesh(world, replicas);
      for (const Group* group : {&mesh.world, &mesh.shard, &mesh.replicate}) {
        Communicator& c = *group->communicator;
        EXPECT_EQ(c.name(), group->name);
        EXPECT_EQ(c.rank(), group->rank);
        EXPECT_EQ(c.size(), group->size);
        std::vector<int> ranks(static_cast<size_t>(c.size()));
        const int mine = world.rank();
        c.all_gather("who", &mine, ranks.data(), sizeof mine);
        for (int i = 0; i < c.size(); ++i)
          EXPECT_EQ(ranks[static_cast<size_t>(i)], group == &mesh.world   ? i
                                                   : group == &mesh.shard ? mesh.replicate.rank * mesh.shard.size + i
                                                                          : i * mesh.shard.size + mesh.shard.rank);
        check_mixed_calls(c, 2, 20, 3000);
      }
    }
  });
}

TEST_P(Collectives, TwoThreadsUseTwoGroupsAtOnce) {
  on_every_rank([](World& world) {
    const auto wire = world.make_group("world"), control = world.make_group("control");
    std::thread other([&] { check_mixed_calls(*control, 3, 40, 3000); });
    check_mixed_calls(*wire, 4, 40, 100000);
    other.join();
  });
}

TEST_P(Collectives, RanksOfANodeAreNumbered) {
  on_every_rank([](World& world) {
    EXPECT_GE(world.local_rank(), 0);
    EXPECT_LT(world.local_rank(), world.local_size());
    EXPECT_LE(world.local_size(), world.size());
  });
}

TEST_P(Collectives, TheLogHasEveryCallInOrder) {
  on_every_rank([](World& world) {
    const auto group = world.make_group("shard");
    check_all_gather(*group, 5, false);
    check_reduce_scatter(*group, 2, false);
    group->barrier("end");
    const RankCalls log = world.calls().snapshot();
    EXPECT_EQ(log.rank, world.rank());
    std::vector<std::string> lines;
    for (const Call& call : std::span(log.calls).last(4)) {
      EXPECT_FALSE(call.running());
      EXPECT_LE(call.started_ns, call.finished_ns);
      lines.push_back(describe(call));
    }
    EXPECT_EQ(lines,
              (std::vector<std::string>{
                  "make_group (group shard)", "all_gather \"gather\" (group shard, call 1, 5 bytes)",
                  "reduce_scatter \"sum\" (group shard, call 2, 8 bytes)", "barrier \"end\" (group shard, call 3)"}));
  });
}

TEST_P(Collectives, AllRanksHaveOneHashOfTheirCalls) {
  on_every_rank([](World& world) {
    const Mesh mesh = make_mesh(world, world.size() % 2 == 0 ? 2 : 1);
    mesh.shard.communicator->barrier("a");
    mesh.replicate.communicator->barrier("b");
    const uint64_t mine = world.calls().hash();
    std::vector<uint64_t> all(static_cast<size_t>(world.size()));
    mesh.world.communicator->all_gather("hash", &mine, all.data(), sizeof mine);
    for (uint64_t hash : all) EXPECT_EQ(hash, mine);
    EXPECT_NE(world.calls().hash(), mine);
  });
}

// Every watchdog hears of it, also that of the rank which waits for nobody; the first rank's tells it. Then the rank
// comes, and all go on.
TEST_P(Collectives, AWatchdogNamesTheRankThatIsLate) {
  on_every_rank([](World& world) {
    const auto group = world.make_group("late");
    const int late = world.size() - 1;
    std::promise<std::string> said;
    const Watchdog watchdog(world, {.limit_s = 0.5, .answer_s = 10}, [&](const std::string& text, bool tells) {
      EXPECT_EQ(tells, world.rank() == 0);
      said.set_value(text);
    });
    if (world.size() == 1) return;
    std::string text;
    if (world.rank() == late) text = said.get_future().get();
    group->barrier("step");
    if (world.rank() != late) text = said.get_future().get();
    const std::string start =
        "rank " + std::to_string(late) + " has not entered barrier \"step\" (group late, call 1), in which rank";
    EXPECT_EQ(text.substr(0, start.size()), start) << text;
    group->barrier("all have heard");
  });
}

TEST_P(Collectives, LeaveTheHeapAloneAfterTheFirstCallOfASize) {
  on_every_rank([](World& world) {
    const auto group = world.make_group("world");
    constexpr int64_t kElements = 300001, kBytes = kElements * 4;
    std::vector<float> one(static_cast<size_t>(kElements * world.size())), two(one.size());
    const auto call_all = [&] {
      group->all_gather("a", two.data(), one.data(), kBytes);
      group->all_to_all("b", two.data(), one.data(), kBytes);
      group->reduce_scatter("c", one.data(), two.data(), kElements);
      group->broadcast("d", one.data(), kBytes, world.size() - 1);
      group->barrier("e");
    };
    call_all();
    group->barrier("start");
    counting_heap = true;
    for (int i = 0; i < 5; ++i) call_all();
    group->barrier("stop");
    counting_heap = false;
    EXPECT_EQ(heap_calls, 0);
  });
}

}  // namespace shardit::test

// Not inlined, or gcc warns of new and free in one function.
[[gnu::noinline]] inline void* counted_allocation(std::size_t bytes, std::size_t alignment) noexcept {
  if (shardit::test::counting_heap) ++shardit::test::heap_calls;
  return std::aligned_alloc(alignment, (bytes + alignment) / alignment * alignment);
}
[[gnu::noinline]] inline void plain_release(void* memory) noexcept { std::free(memory); }
inline void* or_throw(void* memory) { return memory ? memory : throw std::bad_alloc(); }

void* operator new(std::size_t n) { return or_throw(counted_allocation(n, alignof(std::max_align_t))); }
void* operator new(std::size_t n, std::align_val_t a) {
  return or_throw(counted_allocation(n, static_cast<std::size_t>(a)));
}
void* operator new(std::size_t n, const std::nothrow_t&) noexcept {
  return counted_allocation(n, alignof(std::max_align_t));
}
void operator delete(void* p) noexcept { plain_release(p); }
void operator delete(void* p, std::align_val_t) noexcept { plain_release(p); }
void operator delete(void* p, std::size_t) noexcept { plain_release(p); }
void operator delete(void* p, std::size_t, std::align_val_t) noexcept { plain_release(p); }

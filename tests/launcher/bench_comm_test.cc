#include "launcher/bench_comm.h"

#include <gtest/gtest.h>

#include "core/error.h"
#include "dist/thread_world.h"

namespace shardit {
namespace {

// A group whose rank 1 gets one wrong byte from one of the collectives.
class Damaged final : public Communicator {
 public:
  Damaged(Communicator& sound, std::string op) : sound_(sound), op_(std::move(op)) {}
  const char* name() const override { return "damaged"; }
  int rank() const override { return sound_.rank(); }
  int size() const override { return sound_.size(); }
  void all_gather(const char* label, const void* part, void* all, int64_t part_bytes) override {
    sound_.all_gather(label, part, all, part_bytes);
    damage("all_gather", all, part_bytes * size());
  }
  void all_to_all(const char* label, const void* send, void* receive, int64_t part_bytes) override {
    sound_.all_to_all(label, send, receive, part_bytes);
    damage("all_to_all", receive, part_bytes * size());
  }
  void reduce_scatter(const char* label, const float* send, float* receive, int64_t part_elements) override {
    sound_.reduce_scatter(label, send, receive, part_elements);
    damage("reduce_scatter", receive, part_elements * 4);
  }
  void broadcast(const char* label, void* data, int64_t bytes, int root) override {
    sound_.broadcast(label, data, bytes, root);
    damage("broadcast", data, bytes);
  }
  void barrier(const char* label) override { sound_.barrier(label); }

 private:
  void damage(const std::string& op, void* data, int64_t bytes) {
    if (op == op_ && rank() == 1) static_cast<unsigned char*>(data)[bytes - 2] ^= 0x10;
  }
  Communicator& sound_;
  std::string op_;
};

const CommBenchOptions kSmall{.sizes = comm_sizes(4 << 10), .rounds = 1};

TEST(BenchComm, MeasuresEveryCollectiveAtEverySize) {
  run_ranks(3, {}, [](World& world) {
    const auto group = world.make_group("bench");
    int told = 0;
    const CommReport report = measure_collectives(*group, group.get(), kSmall, [&](const CommPoint&) { ++told; });
    EXPECT_EQ(report.points.size(), 4u * 2);
    EXPECT_EQ(told, 8);
    for (const CommPoint& p : report.points) {
      EXPECT_EQ(p.bytes % (3 * 4), 0) << "whole elements for each rank";
      EXPECT_LE(p.bytes, 4 << 10);
      EXPECT_GT(p.ours.best_us, 0);
      EXPECT_GE(p.ours.median_us, p.ours.best_us);
      EXPECT_GT(p.library.median_us, 0);
    }
    EXPECT_GT(report.link.gb_per_s, 0);
    EXPECT_GT(report.copy_gb_per_s, 0);
  });
}

TEST(BenchComm, ARankSendsWhatTheBusBandwidthCounts) {
  const CommPoint gathered{.op = "all_gather", .bytes = 4000, .ranks = 4, .ours = {.median_us = 2}};
  EXPECT_DOUBLE_EQ(gathered.algorithm_gb_per_s(gathered.ours), 2);
  EXPECT_DOUBLE_EQ(gathered.bus_gb_per_s(gathered.ours), 1.5);
  const CommPoint sent{.op = "broadcast", .bytes = 4000, .ranks = 4, .ours = {.median_us = 2}};
  EXPECT_DOUBLE_EQ(sent.bus_gb_per_s(sent.ours), 2);
}

TEST(BenchComm, AWrongByteOfAnyCollectiveIsAnError) {
  for (const std::string op : {"all_gather", "all_to_all", "reduce_scatter", "broadcast"}) {
    try {
      run_ranks(2, {}, [&](World& world) {
        const auto sound = world.make_group("sound");
        Damaged group(*sound, op);
        measure_collectives(group, nullptr, kSmall, [](const CommPoint&) {});
      });
      ADD_FAILURE() << op << ": nobody noticed";
    } catch (const CommError& error) {
      EXPECT_NE(std::string(error.what()).find(op + " of 1024 bytes in group damaged: rank 1 got"), std::string::npos)
          << error.what();
    }
  }
}

TEST(BenchComm, FindsTheLinkAlone) {
  run_ranks(2, {}, [](World& world) {
    const Link link = measure_link(*world.make_group("bench"));
    EXPECT_GT(link.gb_per_s, 0);
    EXPECT_GE(link.step_us, 0);
  });
}

}  // namespace
}  // namespace shardit

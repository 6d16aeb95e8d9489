#include "core/program.h"

#include <gtest/gtest.h>

#include <numeric>

#include "core/error.h"
#include "core/random.h"
#include "core/windows.h"
#include "tests/core/queue_device.h"
#include "tests/core/test_ops.h"

namespace shardit {
namespace {

using test::in;

constexpr int64_t kN = 64;

std::vector<float> filled(float x) { return std::vector<float>(kN, x); }

struct OnCpu {
  Pool pool{1};
  std::unique_ptr<Device> device = make_cpu_device();
  Program program;

  explicit OnCpu(std::vector<NamedGraph> graphs) : program(compile(std::move(graphs), 1), *device, pool) {}
  void set(const std::string& name, float x, int slot = 0) {
    program.upload(name, filled(x).data(), kN * sizeof(float), slot);
  }
  float get(const std::string& name, int slot = 0) {
    std::vector<float> x(kN);
    program.download(name, x.data(), kN * sizeof(float), slot);
    return x[0];
  }
};

// y = x + 1, kept.
Graph add_one_graph(int slots = 1) {
  Graph g;
  const Value x = input(g, "x", {DType::kF32, {kN}}, BufferClass::kStaging, Role::kFixed, slots);
  g.keep(g.add1(test::plain, {x}), "y");
  return g;
}

TEST(Program, UploadsAndDownloadsWholeBuffersOnly) {
  OnCpu run({{"g", add_one_graph()}});
  const auto x = filled(2);
  EXPECT_DEATH(run.program.upload("x", x.data(), 4), "x holds 256 bytes, not 4");
  EXPECT_DEATH(run.program.download("y", run.program.host_pointer("y"), 512), "y holds 256 bytes, not 512");
  EXPECT_DEATH(run.program.upload("z", x.data(), 256), "the program has no buffer z");
  EXPECT_DEATH(run.program.run("h"), "the program has no graph h");
  EXPECT_DEATH(run.program.output("g", "z"), "graph g has no output z");
}

TEST(Program, ASlotThatABufferDoesNotHaveIsRefused) {
  OnCpu run({{"g", add_one_graph(2)}});
  const auto x = filled(2);
  EXPECT_DEATH(run.program.upload("x", x.data(), 256, 2), "x has 2 slots, there is no slot 2");
  EXPECT_DEATH(run.program.host_pointer("y", 1), "y has 1 slots, there is no slot 1");
  EXPECT_DEATH(run.program.run(0, 2), "there is no slot 2");
}

TEST(Program, ReadsTheSlotItIsToldAndLeavesTheOtherAlone) {
  OnCpu run({{"g", add_one_graph(2)}});
  run.set("x", 10, 0);
  run.set("x", 20, 1);
  for (int slot : {1, 0, 1}) {
    run.program.run("g", slot);
    EXPECT_EQ(run.get("y"), slot == 0 ? 11 : 21);
  }
  EXPECT_EQ(run.get("x", 0), 10);
  EXPECT_EQ(run.get("x", 1), 20);
}

TEST(Program, AnObserverSeesEveryNodeInOrderWithItsOutputs) {
  Graph g;
  Value x = in(g, "x");
  for (const char* name : {"a", "b", "c"}) {
    const auto scope = g.scope(name);
    x = g.add1(test::in_place, {x});
  }
  g.name_output(x, "y");
  OnCpu run({{"g", g}});
  std::string seen;
  run.program.observe([&](const Node& node, std::span<const TensorRef> out) {
    seen += node.label + std::to_string(static_cast<int>(out[0].as<float>()[kN - 1]));
  });
  run.program.run("g");
  EXPECT_EQ(seen, "a1b2c3");
  run.program.observe(nullptr);
  run.program.run("g");
  EXPECT_EQ(seen, "a1b2c3");
}

TEST(Program, GraphsFindEachOthersKeptValues) {
  Graph second;
  second.keep(second.add1(test::update, {in(second, "y")}), "y");
  OnCpu run({{"first", add_one_graph()}, {"second", second}});
  run.set("x", 5);
  run.program.run("first");
  run.program.run("second");
  run.program.run("second");
  EXPECT_EQ(run.get("y"), 8);
}

bool out_of_order = false;
const OpCard fragile = [] {
  OpCard c = test::card("fragile");
  c.cpu = [](const KernelArgs& k) {
    k.pool->run(8, [&](int64_t tile, int) {
      if (out_of_order && tile == 5) throw DeviceError("the device fell over");
      for (int64_t i = 8 * tile; i < 8 * tile + 8; ++i) k.out[0].as<float>()[i] = 3;
    });
  };
  return c;
}();

TEST(Program, ADeviceErrorReachesTheCallerAndTheNextRunWorks) {
  Graph g;
  g.keep(g.add1(test::plain, {g.add1(fragile, {in(g, "x")})}), "y");
  OnCpu run({{"g", g}});
  out_of_order = true;
  EXPECT_THROW(run.program.run("g"), DeviceError);
  EXPECT_EQ(run.get("y"), 0) << "what comes after the failed node did not run";
  out_of_order = false;
  run.program.run("g");
  EXPECT_EQ(run.get("y"), 4);
}

// ---- streams -----------------------------------------------------------------------------------------------------

const OpCard copying = test::card("copying", Stream::kCopy);
const OpCard wire_update = [] {
  OpCard c = test::update;
  c.name = "wire_update";
  c.stream = Stream::kWire;
  return c;
}();

// Takes out what the last value was written over, and views of it.
void forget_overwritten(std::vector<Value>& values) {
  const std::vector<Extent> extents = find_extents(*values[0].graph);
  const Value last = values.back();
  std::erase_if(values, [&](Value v) { return v.id != last.id && extents[v.id].overlaps(extents[last.id]); });
}

// Node `n` waits for node `other`, if that one stands before and signals.
void wait_for_any(Graph& g, int n, int other) {
  if (other < n && g.node(other).card != &input_card) g.node(n).after.push_back(other);
}

// 40 nodes on three streams, in place and not, and inputs between them. A value that was overwritten is not read again.
// What it sends last is still on its way when the graph is over.
Graph random_graph(uint64_t trial, const std::string& from, const std::string& to) {
  const Philox philox(17, Purpose::kSynthetic);
  int draws = 0;
  const auto pick = [&](size_t n) { return integer_at(philox, trial, draws++, static_cast<int64_t>(n)); };
  Graph g;
  const Value x = in(g, from, kN);
  std::vector<Value> values = {x, g.add1(test::plain, {x, in(g, from + ".sent", kN)})};
  const OpCard* cards[] = {&test::plain, &test::wire,  &test::in_place, &test::update,
                           &copying,     &wire_update, &test::view};
  for (int i = 0; i < 40; ++i) {
    if (pick(8) == 0) values.push_back(in(g, from + std::to_string(i), kN));
    const OpCard* card = cards[pick(std::size(cards))];
    const size_t a = pick(values.size()), b = pick(values.size());
    values.push_back(card == &test::view ? g.add1(*card, {values[a]}) : g.add1(*card, {values[a], values[b]}));
    if (pick(6) == 0) wait_for_any(g, g.info(values.back().id).node, pick(g.node_count()));
    if (card == &test::update || card == &wire_update) forget_overwritten(values);
  }
  g.keep(g.add1(test::wire, {values.front(), values.back()}), to + ".sent");
  g.keep(g.add1(test::plain, {values.back()}), to);
  return g;
}

std::vector<std::vector<float>> result_of(uint64_t trial, Device& device) {
  Pool pool(1);
  std::vector<NamedGraph> graphs = {{"f", random_graph(2 * trial, "x", "y")},
                                    {"g", random_graph(2 * trial + 1, "y", "z")}};
  Program program(compile(std::move(graphs), 1), device, pool);
  std::vector<std::vector<float>> results;
  const auto read = [&](const std::string& name) {
    program.download(name, results.emplace_back(kN).data(), kN * sizeof(float));
  };
  for (float repeat : {1, 2, 3}) {
    program.upload("x", filled(repeat).data(), kN * sizeof(float));
    program.run("f");
    read("z.sent");  // what the last g sent, from memory that f has written since
    program.run("g");
    read("z");
  }
  read("z.sent");
  return results;
}

// The CPU runs nodes as they stand in the graph; queues run them in any order that the waits allow. A forgotten wait,
// bytes that are given away too early and graphs that run into each other all show.
TEST(Program, AnyOrderThatTheWaitsAllowGivesTheSameBits) {
  for (uint64_t trial = 0; trial < 100; ++trial) {
    const auto cpu = make_cpu_device();
    const std::vector<std::vector<float>> expected = result_of(trial, *cpu);
    for (uint64_t seed = 0; seed < 3; ++seed) {
      test::QueueDevice queues(seed);
      ASSERT_EQ(result_of(trial, queues), expected) << "trial " << trial << ", order " << seed;
    }
  }
}

// What is still being sent is not written over, though the graph that sends it is long over.
TEST(Program, AGraphWaitsForWhatAnEarlierOneStillReads) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    Graph make, send;
    make.keep(make.add1(test::plain, {in(make, "x", kN)}), "y");
    send.keep(send.add1(test::wire, {in(send, "y", kN)}), "sent");
    test::QueueDevice queues(seed);
    Pool pool(1);
    Program program(compile({{"make", make}, {"send", send}}, 1), queues, pool);
    std::vector<float> sent(kN);
    for (float x : {1, 10}) {
      program.upload("x", filled(x).data(), kN * sizeof(float));
      program.run("make");
      if (x == 1) program.run("send");
    }
    program.download("sent", sent.data(), kN * sizeof(float));
    EXPECT_EQ(sent[0], 3) << "1, and one more by each graph; seed " << seed;
  }
}

// ---- a device whose memory the host does not reach -----------------------------------------------------------------

Target apart_target() {
  Target target;
  target.copied_on_host = [](const std::string& buffer) { return buffer == "x" || buffer == "y"; };
  return target;
}

struct Apart {
  Pool pool{1};
  test::QueueDevice device{1, test::Memory::kApart};
  Program program;

  explicit Apart(std::vector<NamedGraph> graphs) : program(compile(std::move(graphs), apart_target()), device, pool) {}
  float* host(const std::string& name, int slot = 0) { return static_cast<float*>(program.host_pointer(name, slot)); }
};

TEST(ApartMemory, IsFilledAndReadThroughCopies) {
  Apart run({{"g", add_one_graph(2)}});
  for (int slot : {0, 1, 0}) {
    std::fill_n(run.host("x", slot), kN, 10.0f * static_cast<float>(slot + 1));
    run.program.push("x", slot);
    run.program.run("g", slot);
    run.program.pull("y");
    EXPECT_EQ(run.host("y")[kN - 1], 11 + 10 * slot);
  }
  EXPECT_EQ(run.program.memory().bytes_by_class()[BufferClass::kHostCopies], 3 * 256) << "two slots of x, and y";
}

TEST(ApartMemory, EndsAHostThatTouchesItAndAKernelThatIsSentElsewhere) {
  Apart run({{"g", add_one_graph()}});
  const TensorRef y = run.program.output("g", "y");
  EXPECT_DEATH(std::printf("%f", static_cast<double>(y.as<float>()[0])), "");
  std::vector<float> here(kN);
  const std::vector<TensorRef> refs = {{here.data(), {DType::kF32, {kN}}}};
  EXPECT_DEATH(run.device.launch(Stream::kCompute, test::plain, {.in = refs, .out = refs}, nullptr),
               "an address of the host where one of the device's is due");
  EXPECT_DEATH(run.device.copy_in(Stream::kCompute, y.data, y.data, 4),
               "an address of the device where one of the host's is due");
  EXPECT_EQ(run.program.on_host(y).as<float>()[0], 0);
}

TEST(ApartMemory, ABufferWithoutACopyIsNoneOfTheHosts) {
  Graph g;
  g.keep(g.add1(test::plain, {in(g, "x")}), "z");
  Apart run({{"g", g}});
  EXPECT_DEATH(run.program.host_pointer("z"), "z has no copy on the host");
}

// Whose cards have no kernels here.
struct KernelsOfGpus : test::QueueDevice {
  KernelsOfGpus() : QueueDevice(1, test::Memory::kApart) {}
  Kernels kernels() const override { return Kernels::kCuda; }
};

Target gpu_target() {
  Target target = apart_target();
  target.kernels = Kernels::kCuda;
  return target;
}

TEST(ApartMemory, ACardWithoutADeviceKernelIsRefusedByName) {
  Graph g;
  const Value x = in(g, "x");
  const auto scope = g.scope("blocks.7.mlp");
  g.keep(g.add1(test::plain, {x}), "y");
  try {
    compile({{"g", g}}, gpu_target());
    FAIL() << "nobody noticed";
  } catch (const DeviceError& error) {
    EXPECT_STREQ(error.what(), "blocks.7.mlp (plain) has no kernel for GPUs in this build; use device=cpu");
  }
}

TEST(ApartMemory, AWindowNeedsNoDeviceKernel) {
  Graph g;
  const auto scope = g.scope("w");
  g.name_output(g.add1(test::half<1>, {in(g, "x")}), "second");
  KernelsOfGpus device;
  Pool pool(1);
  Program program(compile({{"g", g}}, gpu_target()), device, pool);
  std::vector<float> x(kN);
  std::iota(x.begin(), x.end(), 0.0f);
  program.upload("x", x.data(), kN * sizeof(float));
  program.run("g");
  EXPECT_EQ(program.on_host(program.output("g", "second")).as<float>()[0], kN / 2);
}

}  // namespace
}  // namespace shardit

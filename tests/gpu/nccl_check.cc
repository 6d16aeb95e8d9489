// The collectives of GPUs on real ones, held against those of the ranks' hosts, byte by byte: every call in every
// group, small and large, many on their way at a time. Numbers are small integers, so that sums are exact in any order.
//
//   mpirun -np N nccl_check [REPLICAS]      SHARDIT_SHARE_GPU=1 lets the ranks share a GPU
//
// Prints a line and exits with 0 if all bytes are equal, with 1 if not, with 3 where there is no GPU or NCCL fails.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/program.h"
#include "dist/collective_ops.h"
#include "launcher/command_line.h"
#include "launcher/hang.h"
#include "launcher/job.h"
#include "launcher/progress.h"
#include "launcher/run_device.h"

namespace shardit {
namespace {

constexpr int kRuns = 20;
constexpr double kLongestCallS = 60;

// All collectives of all groups, of parts of so many numbers.
Graph graph_of(const Mesh& mesh, int64_t part) {
  Graph graph;
  for (const Group* group : {&mesh.world, &mesh.shard, &mesh.replicate}) {
    if (group->size == 1) continue;
    const Value given =
        input(graph, "given." + group->name, {DType::kF32, {part * group->size}}, BufferClass::kActivations);
    graph.keep(all_gather(given, *group, "gather"), "gathered." + group->name, BufferClass::kWire);
    graph.keep(all_to_all(given, *group, "turn"), "turned." + group->name, BufferClass::kWire);
    graph.keep(reduce_scatter(given, *group, "sum"), "summed." + group->name, BufferClass::kWire);
  }
  return graph;
}

std::vector<float> numbers(int64_t count, int rank, int set) {
  std::vector<float> values(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i)
    values[static_cast<size_t>(i)] = static_cast<float>((i * 7 + rank * 31 + set * 5) % 23);
  return values;
}

// The graph's program on one device, filled and read by the names of its buffers.
class Collectives {
 public:
  Collectives(const Graph& graph, Device& device)
      : program_(compile({{"collectives", graph}}, target_of(device, 1)), device, pool_) {}

  void fill(int rank, int set) {
    for (const auto& [name, buffer] : program_.memory().buffers) {
      if (!name.starts_with("given.")) continue;
      const std::vector<float> values = numbers(buffer.bytes / static_cast<int64_t>(sizeof(float)), rank, set);
      program_.upload(name, values.data(), buffer.bytes);
    }
  }
  void run() { program_.run("collectives"); }
  std::vector<char> read(const std::string& name, int64_t bytes) {
    std::vector<char> result(static_cast<size_t>(bytes));
    program_.download(name, result.data(), bytes);
    return result;
  }
  Program& program() { return program_; }

 private:
  Pool pool_{1};
  Program program_;
};

// The results that differ between the two.
std::string difference(Collectives& host, Collectives& gpu) {
  std::string names;
  for (const auto& [name, buffer] : host.program().memory().buffers)
    if (host.read(name, buffer.bytes) != gpu.read(name, buffer.bytes)) names += " " + name;
  return names;
}

// What differs after many runs in a row, with two sets of numbers; milliseconds of a run.
std::string check(const Graph& graph, Device& on_host, Device& on_gpu, int rank, double& run_ms) {
  Collectives host(graph, on_host), gpu(graph, on_gpu);
  std::string wrong;
  for (const int set : {0, 1}) {
    host.fill(rank, set);
    gpu.fill(rank, set);
    host.run();
    const double begin = steady_seconds();
    for (int i = 0; i < kRuns; ++i) gpu.run();
    gpu.program().synchronize();
    run_ms = (steady_seconds() - begin) * 1e3 / kRuns;
    wrong += difference(host, gpu);
  }
  return wrong;
}

int run(World& world, int replicas) {
  Ranks ranks(world);
  const auto watchdog = end_hangs(world, kLongestCallS);
  const auto on_host = make_cpu_device();
  const RunDevice gpu = open_device("cuda", ranks);
  REQUIRE(world.size() > 1, "nccl_check: one rank has nobody to speak with; start it by mpirun -np 2 or more");
  for (const std::string& note : gpu.notes)
    if (ranks.first()) std::printf("%s\n", note.c_str());
  Mesh mesh = make_mesh(world, replicas);  // its communicators end before the device
  connect_devices(ranks, mesh, *gpu.device);
  bool any_wrong = false;
  for (const int64_t part : {1, 3, 1000, 4096, 1 << 20}) {
    double run_ms = 0;
    const std::string wrong = check(graph_of(mesh, part), *on_host, *gpu.device, world.rank(), run_ms);
    if (!wrong.empty())
      std::fprintf(stderr, "rank %d, parts of %ld: wrong:%s\n", world.rank(), long{part}, wrong.c_str());
    any_wrong = ranks.any("wrong", !wrong.empty()) || any_wrong;
    if (ranks.first()) std::printf("parts of %7ld numbers: %8.2f ms for all calls\n", long{part}, run_ms);
  }
  if (ranks.first())
    std::printf("%d ranks in %d groups: %s\n", world.size(), replicas, any_wrong ? "bytes differ" : "all bytes equal");
  return any_wrong ? 1 : 0;
}

}  // namespace
}  // namespace shardit

int main(int argc, char** argv) {
  using namespace shardit;
  const int replicas = argc > 1 ? std::atoi(argv[1]) : 1;
  return run_handler([&] { return run_job([&](World& world) { return run(world, replicas); }); }, std::cerr);
}

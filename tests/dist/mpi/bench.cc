// Collectives side by side with the MPI library's own, in turn, so that both see the same machine:
//
//   mpirun --bind-to none --mca mpi_yield_when_idle 1 -np 2 build/dist_mpi_bench [busy]
//
// A size is that of the n parts together; GB/s is what a rank sends, (n - 1) parts, by the median time of three rounds.
// Behind it the fastest call of all: what the machine gives when nobody else uses it just then.
// With `busy` every rank has a thread that computes meanwhile, and the last column says how much of the work that such
// a thread does alone it got done.
#include <mpi.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstring>
#include <functional>
#include <thread>
#include <utility>
#include <vector>

#include "dist/mpi_world.h"

namespace shardit {
namespace {

// Multiplies and adds until the end of its scope.
class Computation {
 public:
  explicit Computation(bool on) {
    if (on) thread_ = std::thread([this] { work(); });
  }
  ~Computation() {
    stop_ = true;
    if (thread_.joinable()) thread_.join();
  }
  int64_t done() const { return done_; }

 private:
  void work() {
    volatile float x = 1;
    while (!stop_) {
      for (int i = 0; i < 1000; ++i) x = x * 0.999f + 0.001f;
      ++done_;
    }
  }
  std::atomic<bool> stop_{false};
  std::atomic<int64_t> done_{0};
  std::thread thread_;
};

struct Contest {
  const char* name;
  std::function<void()> ours, theirs;
};

struct Times {
  std::vector<double> rounds;  // mean seconds of a call
  double fastest = 1e9;        // seconds
  double median() const {
    std::vector<double> sorted = rounds;
    std::sort(sorted.begin(), sorted.end());
    return sorted[sorted.size() / 2];
  }
};

void run_round(Communicator& group, int calls, const std::function<void()>& call, Times& times) {
  group.barrier("start");
  double sum = 0;
  for (int i = 0; i < calls; ++i) {
    const int64_t start = steady_now_ns();
    call();
    const double seconds = static_cast<double>(steady_now_ns() - start) / 1e9;
    sum += seconds;
    times.fastest = std::min(times.fastest, seconds);
  }
  group.barrier("stop");
  times.rounds.push_back(sum / calls);
}

void compare(Communicator& group, int64_t bytes, const Computation& computation, double alone) {
  const int n = group.size();
  const int64_t part = bytes / n;
  std::vector<float> a(static_cast<size_t>(bytes / 4), 1.0f), b(a.size());
  const int count = static_cast<int>(part), elements = count / 4;
  const Contest contests[] = {
      {"all_gather", [&] { group.all_gather("g", a.data(), b.data(), part); },
       [&] { MPI_Allgather(a.data(), count, MPI_BYTE, b.data(), count, MPI_BYTE, MPI_COMM_WORLD); }},
      {"all_to_all", [&] { group.all_to_all("a", a.data(), b.data(), part); },
       [&] { MPI_Alltoall(a.data(), count, MPI_BYTE, b.data(), count, MPI_BYTE, MPI_COMM_WORLD); }},
      {"reduce_scatter", [&] { group.reduce_scatter("r", a.data(), b.data(), part / 4); },
       [&] { MPI_Reduce_scatter_block(a.data(), b.data(), elements, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD); }}};
  const int calls = static_cast<int>(std::clamp<int64_t>((128 << 20) / bytes, 3, 300));
  const double moved = static_cast<double>(part) * (n - 1) / 1e9;
  for (const Contest& contest : contests) {
    Times ours, theirs, ignored;
    const int64_t work = computation.done(), start = steady_now_ns();
    run_round(group, 1, contest.ours, ignored);
    run_round(group, 1, contest.theirs, ignored);
    for (int round = 0; round < 3; ++round) {
      run_round(group, calls, contest.ours, ours);
      run_round(group, calls, contest.theirs, theirs);
    }
    const double rate = static_cast<double>(computation.done() - work) / static_cast<double>(steady_now_ns() - start);
    if (group.rank() != 0) continue;
    std::printf("%-14s %8.4f MiB", contest.name, static_cast<double>(bytes) / (1 << 20));
    for (const auto& [who, times] : {std::pair<const char*, const Times&>{"ours", ours}, {"MPI", theirs}})
      std::printf("   %4s %5.2f GB/s, fastest %8.1f us", who, moved / times.median(), times.fastest * 1e6);
    if (alone > 0) std::printf("   work %3.0f %%", 100 * rate / alone);
    std::printf("\n");
  }
}

}  // namespace
}  // namespace shardit

int main(int argc, char** argv) {
  using namespace shardit;
  const auto world = make_mpi_world(&argc, &argv);
  const auto group = world->make_group("world");
  const bool busy = argc > 1 && std::strcmp(argv[1], "busy") == 0;
  const Computation computation(busy);
  const int64_t start = steady_now_ns(), work = computation.done();
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  const double alone = static_cast<double>(computation.done() - work) / static_cast<double>(steady_now_ns() - start);
  for (int64_t bytes : {64 << 10, 1 << 20, 16 << 20, 64 << 20}) compare(*group, bytes, computation, alone);
}

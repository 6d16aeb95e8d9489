#include "launcher/bench_comm.h"

#include <algorithm>
#include <cstring>
#include <optional>

#include "core/error.h"
#include "launcher/median.h"
#include "launcher/progress.h"

namespace shardit {
namespace {

constexpr int64_t kSmallest = 1 << 10, kStep = 4;  // bytes; times
constexpr int64_t kBytesPerRound = 16 << 20;       // enough calls of a small size to be seen by a clock
constexpr int64_t kCopyBytes = 64 << 20;

// Element i of what `rank` gives in a round: small integers, whose sums over ranks are exact in any order.
float given(int rank, int64_t i, int round) { return static_cast<float>((i * 7 + rank * 13 + round * 29) & 63); }

struct Buffers {
  std::vector<float> send, receive;
  int64_t part;  // elements
  int rank, ranks, round = 0;

  int64_t part_bytes() const { return part * static_cast<int64_t>(sizeof(float)); }
  int64_t bytes() const { return part_bytes() * ranks; }
};

// One collective: its call, and what it must give.
struct Collective {
  const char* name;
  void (*call)(Communicator&, Buffers&);
  float (*expected)(const Buffers&, int64_t i);
  bool whole = true;  // the result is of all parts, not of one
};

const Collective kCollectives[] = {
    {"all_gather",
     [](Communicator& c, Buffers& b) { c.all_gather("bench", b.send.data(), b.receive.data(), b.part_bytes()); },
     [](const Buffers& b, int64_t i) { return given(static_cast<int>(i / b.part), i % b.part, b.round); }},
    {"all_to_all",
     [](Communicator& c, Buffers& b) { c.all_to_all("bench", b.send.data(), b.receive.data(), b.part_bytes()); },
     [](const Buffers& b, int64_t i) {
       return given(static_cast<int>(i / b.part), b.rank * b.part + i % b.part, b.round);
     }},
    {"reduce_scatter",
     [](Communicator& c, Buffers& b) { c.reduce_scatter("bench", b.send.data(), b.receive.data(), b.part); },
     [](const Buffers& b, int64_t i) {
       float sum = 0;
       for (int r = 0; r < b.ranks; ++r) sum += given(r, b.rank * b.part + i, b.round);
       return sum;
     },
     false},
    {"broadcast", [](Communicator& c, Buffers& b) { c.broadcast("bench", b.receive.data(), b.bytes(), 0); },
     [](const Buffers& b, int64_t i) { return given(0, i, b.round); }},
};

// Nothing of the round before can pass for a result of this one.
void prepare(Buffers& b, int round) {
  b.round = round;
  for (int64_t i = 0; i < std::ssize(b.send); ++i) b.send[static_cast<size_t>(i)] = given(b.rank, i, round);
  if (b.rank == 0)  // what a broadcast sends
    b.receive = b.send;
  else
    std::fill(b.receive.begin(), b.receive.end(), -1.0f);
}

void check(const Collective& collective, const Communicator& group, const Buffers& b) {
  const int64_t count = collective.whole ? std::ssize(b.receive) : b.part;
  for (int64_t i = 0; i < count; ++i) {
    const float got = b.receive[static_cast<size_t>(i)], expected = collective.expected(b, i);
    if (got == expected) continue;
    throw CommError(std::string(collective.name) + " of " + std::to_string(b.bytes()) + " bytes in group " +
                    group.name() + ": rank " + std::to_string(b.rank) + " got " + std::to_string(got) + " as element " +
                    std::to_string(i) + ", expected " + std::to_string(expected) +
                    "\nthe data was changed on its way: suspect memory, network, or a bug");
  }
}

double slowest(Communicator& group, double mine) {
  std::vector<double> all(static_cast<size_t>(group.size()));
  group.all_gather("bench.times", &mine, all.data(), sizeof mine);
  return *std::max_element(all.begin(), all.end());
}

int calls_of(int64_t bytes) { return static_cast<int>(std::clamp<int64_t>(kBytesPerRound / bytes, 1, 200)); }

// Microseconds of a call, on the slowest rank. `ours` keeps the ranks together, whoever is measured.
double run_round(const Collective& collective, Communicator& ours, Communicator& group, Buffers& b, int round) {
  prepare(b, round);
  const int calls = calls_of(b.bytes());
  ours.barrier("bench.start");
  const double begin = steady_seconds();
  for (int i = 0; i < calls; ++i) collective.call(group, b);
  const double us = (steady_seconds() - begin) * 1e6 / calls;
  check(collective, group, b);
  return slowest(ours, us);
}

CallTime time_of(const std::vector<double>& rounds) {
  return {.median_us = median(rounds), .best_us = *std::min_element(rounds.begin(), rounds.end())};
}

CommPoint measure_point(const Collective& collective, Communicator& ours, Communicator* library, Buffers& b,
                        int rounds) {
  std::vector<double> our_us, their_us;
  for (int round = 0; round <= rounds; ++round) {
    const double us = run_round(collective, ours, ours, b, round);
    const double theirs = library ? run_round(collective, ours, *library, b, round + 1) : 0;
    if (round == 0) continue;  // pages and connections are new
    our_us.push_back(us);
    their_us.push_back(theirs);
  }
  return {.op = collective.name,
          .bytes = b.bytes(),
          .ranks = ours.size(),
          .ours = time_of(our_us),
          .library = library ? time_of(their_us) : CallTime{}};
}

Buffers buffers_of(const Communicator& group, int64_t bytes) {
  Buffers b{.part = std::max<int64_t>(1, bytes / group.size() / static_cast<int64_t>(sizeof(float))),
            .rank = group.rank(),
            .ranks = group.size()};
  b.send.resize(static_cast<size_t>(b.part * b.ranks));
  b.receive.resize(b.send.size());
  return b;
}

bool serves_training(const std::string& op) { return op == "all_gather" || op == "all_to_all"; }

std::vector<Transfer> transfers_of(const std::vector<CommPoint>& points) {
  std::vector<Transfer> transfers;
  for (const CommPoint& p : points)
    if (serves_training(p.op))
      transfers.push_back(
          {.steps = p.ranks - 1.0, .bytes = static_cast<double>(p.bytes) * p.bus_factor(), .us = p.ours.median_us});
  return transfers;
}

double measure_copy(Communicator& ours, int rounds) {
  const std::vector<char> from(kCopyBytes, 1);
  std::vector<char> to(kCopyBytes);
  std::vector<double> seconds;
  for (int round = 0; round <= rounds; ++round) {
    ours.barrier("bench.copy");
    const double begin = steady_seconds();
    std::memcpy(to.data(), from.data(), to.size());
    if (round > 0) seconds.push_back(steady_seconds() - begin);
  }
  return static_cast<double>(kCopyBytes) / slowest(ours, median(seconds)) * 1e-9;
}

Json to_json(const CommPoint& p) {
  Json json = {{"op", p.op},
               {"bytes", p.bytes},
               {"median_us", p.ours.median_us},
               {"best_us", p.ours.best_us},
               {"algorithm_gb_per_s", p.algorithm_gb_per_s(p.ours)},
               {"bus_gb_per_s", p.bus_gb_per_s(p.ours)}};
  if (p.library.median_us == 0) return json;
  json["library_median_us"] = p.library.median_us;
  json["library_best_us"] = p.library.best_us;
  json["library_bus_gb_per_s"] = p.bus_gb_per_s(p.library);
  return json;
}

}  // namespace

std::vector<int64_t> comm_sizes(int64_t max_bytes) {
  std::vector<int64_t> sizes;
  for (int64_t bytes = kSmallest; bytes <= max_bytes; bytes *= kStep) sizes.push_back(bytes);
  return sizes;
}

CommReport measure_collectives(Communicator& ours, Communicator* library, const CommBenchOptions& options,
                               const std::function<void(const CommPoint&)>& told) {
  CommReport report{.ranks = ours.size()};
  for (const Collective& collective : kCollectives)
    for (int64_t bytes : options.sizes) {
      Buffers buffers = buffers_of(ours, bytes);
      told(report.points.emplace_back(measure_point(collective, ours, library, buffers, options.rounds)));
    }
  const std::vector<Transfer> transfers = transfers_of(report.points);
  report.link = fit_link(transfers);
  report.link_error = mean_error(report.link, transfers);
  report.copy_gb_per_s = measure_copy(ours, options.rounds);
  return report;
}

Link measure_link(Communicator& ours) {
  constexpr int64_t kLargest = 4 << 20;
  constexpr int kRounds = 3;
  std::vector<CommPoint> points;
  for (const Collective& collective : kCollectives)
    for (int64_t bytes = kSmallest; bytes <= kLargest && serves_training(collective.name); bytes *= kStep) {
      Buffers buffers = buffers_of(ours, bytes);
      points.push_back(measure_point(collective, ours, nullptr, buffers, kRounds));
    }
  return fit_link(transfers_of(points));
}

Json to_json(const CommReport& report) {
  Json points = Json::array();
  for (const CommPoint& p : report.points) points.push_back(to_json(p));
  return {{"ranks", report.ranks},
          {"link",
           {{"step_us", report.link.step_us},
            {"gb_per_s", report.link.gb_per_s},
            {"mean_error_fraction", report.link_error}}},
          {"copy_gb_per_s", report.copy_gb_per_s},
          {"points", points}};
}

}  // namespace shardit

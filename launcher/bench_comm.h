// `shardit bench comm`: how fast the collectives are, by size, and that they are right. Collective: every rank calls
// it.
//
// A size is that of all ranks' parts together, as in the tables of other benchmarks. Two bandwidths follow from it:
// the algorithm's, size / time, and the bus's, which is what each rank sends per second whatever the number of ranks:
// (n - 1) / n of the former; of a broadcast all of it.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "dist/communicator.h"
#include "launcher/link.h"
#include "launcher/metrics.h"

namespace shardit {

struct CommBenchOptions {
  std::vector<int64_t> sizes;  // bytes
  int rounds = 5;              // each of several calls
};

// 1 KiB, 4 KiB, … up to max_bytes.
std::vector<int64_t> comm_sizes(int64_t max_bytes);

// Of a call, by the slowest rank.
struct CallTime {
  double median_us = 0, best_us = 0;  // over rounds
};

struct CommPoint {
  std::string op;
  int64_t bytes = 0;
  int ranks = 1;
  CallTime ours, library;  // library: nothing where there is none to compare with

  double algorithm_gb_per_s(const CallTime& t) const { return static_cast<double>(bytes) / t.median_us * 1e-3; }
  double bus_gb_per_s(const CallTime& t) const { return algorithm_gb_per_s(t) * bus_factor(); }
  double bus_factor() const { return op == "broadcast" ? 1 : (ranks - 1.0) / ranks; }
};

struct CommReport {
  int ranks = 1;
  std::vector<CommPoint> points;
  Link link;  // of all_gather and all_to_all, which training uses
  double link_error = 0;
  double copy_gb_per_s = 0;  // of a rank's memory, while all ranks copy
};

// `library`, if any, is measured in turn with `ours`, round by round. `told` hears of each point when it is measured.
// Every round has its own inputs and its result is compared to the last byte: a wrong one is a CommError.
// REQUIRES: two ranks or more.
CommReport measure_collectives(Communicator& ours, Communicator* library, const CommBenchOptions& options,
                               const std::function<void(const CommPoint&)>& told);

// The link alone: all_gather and all_to_all, up to 4 MiB, a second or so.
Link measure_link(Communicator& ours);

Json to_json(const CommReport& report);

}  // namespace shardit

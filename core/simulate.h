// The schedule as the devices would run it, without running anything: when each step starts and ends if it takes so
// long, what each stream does, and where computation stands waiting for the wire. A pure function.
#pragma once

#include <array>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "core/graph.h"
#include "core/schedule.h"

namespace shardit {

struct Span {
  double begin_ms = 0, end_ms = 0;
};

struct Timeline {
  double ms = 0;                           // from the start until all streams are done
  std::array<double, kStreams> busy_ms{};  // by stream
  // The compute stream stood waiting for a collective of this unit (its label outside units), or at the end, when the
  // graph has nothing left to compute: "end".
  std::map<std::string, double> exposed_ms;
  std::vector<Span> steps;  // by step

  double total_exposed_ms() const;
};

// Who gives the streams their work. A device with queues is ahead of all of them (kAhead). On the CPU the thread that
// computes also issues (kComputing): a step of another stream cannot begin before computation has come to its place in
// the list.
enum class Issue { kAhead, kComputing };

// `duration_ms` is by step, of a schedule of `graph`. Streams begin together and are joined at the end, as Program runs
// a graph.
Timeline simulate(const Graph& graph, const Schedule& schedule, std::span<const double> duration_ms,
                  Issue issue = Issue::kAhead);

}  // namespace shardit

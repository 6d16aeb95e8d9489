// Schedules as the devices would run them, without running anything: when each step starts and ends if it takes so
// long, and where computation stands waiting for the wire. Nothing but arithmetic.
#pragma once

#include <array>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "core/graph.h"
#include "core/handover.h"
#include "core/schedule.h"

namespace shardit {

// Who gives the streams their work. A device with queues is ahead of all of them (kAhead). On the CPU the thread that
// computes also issues (kComputing): a step of another stream cannot begin before computation has come to its place in
// the list.
enum class Issue { kAhead, kComputing };

// Graphs run one after another, as Program runs them: streams go on where they stood, and a step waits for what it
// needs of its own graph and for what it meets of those before (core/handover.h).
class Simulation {
 public:
  struct Span {
    double begin_ms = 0, end_ms = 0;
  };

  // `plan` says which memory its graphs share.
  explicit Simulation(const MemoryPlan& plan, Issue issue = Issue::kAhead) : issue_(issue), in_use_(plan) {}

  // `duration_ms` is by step, of a schedule of `graph`. Returns when each step ran.
  std::vector<Span> run(const Graph& graph, const Schedule& schedule, const Handover& handover,
                        std::span<const double> duration_ms, int slot = 0);
  // Between graphs the compute stream waits for the host, which does something else for so long; which reads one of the
  // plan's shared memories.
  void host(double ms) { clock_of(Stream::kCompute) += ms; }
  void host_reads(int memory, int slot = 0) { meet(memory, slot, Stream::kCompute, false); }

  double ms(Stream stream) const { return clock_[static_cast<int>(stream)]; }  // when it is done with all it was given
  double busy_ms(Stream stream) const { return busy_[static_cast<int>(stream)]; }
  // The compute stream stood waiting for a collective of this unit (its label outside units).
  const std::map<std::string, double>& exposed_ms() const { return exposed_; }

 private:
  double& clock_of(Stream stream) { return clock_[static_cast<int>(stream)]; }
  void meet(int memory, int slot, Stream stream, bool writes);
  void wait(Stream stream, double until_ms, const std::string& label);

  struct Past {
    double end_ms;
    std::string label;
  };

  Issue issue_;
  std::array<double, kStreams> clock_{}, busy_{};
  InUse in_use_;
  std::vector<Past> past_;  // by event: steps that others may still have to wait for
  std::map<std::string, double> exposed_;
};

}  // namespace shardit

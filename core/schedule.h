// The schedule: which node runs on which stream, in which order, and what waits for what.
//
// Steps of one stream run in order; a step starts only after the steps it waits for. Nothing else is ordered: two
// buffers may share memory only if this partial order proves one dead before the other is born (core/plan.h).
#pragma once

#include <array>
#include <vector>

#include "core/graph.h"
#include "core/stream.h"

namespace shardit {

struct Step {
  int node = -1;
  Stream stream = Stream::kCompute;
  std::vector<int> waits;               // steps on other streams whose end this one waits for
  std::array<int, kStreams> seen = {};  // per stream: how many of its steps are surely over when this one starts
  int position = 0;                     // index within its stream
};

struct Schedule {
  std::vector<Step> steps;               // a legal sequential order
  std::array<int, kStreams> ended = {};  // per stream: how many of its steps are surely over when the compute stream is

  bool happens_before(int a, int b) const {  // step a has ended before step b starts
    const Step& first = steps[a];
    return steps[b].seen[static_cast<int>(first.stream)] > first.position;
  }
  // Whether step a has ended when the last step of the compute stream has; others may outlast the graph.
  bool over_at_end(int a) const { return ended[static_cast<int>(steps[a].stream)] > steps[a].position; }
};

// Keeps the graph's order on every stream and waits exactly where a value crosses streams, where a step overwrites in
// place what another stream reads, and where a pass asked for it (Node::after).
Schedule schedule(const Graph& graph);

}  // namespace shardit

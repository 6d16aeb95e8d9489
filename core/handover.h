// What the runs of a program's graphs owe each other. The compute stream does not wait at a graph's end for the streams
// beside it: they go on while the next graph computes. A step of a later graph waits only where it meets bytes that an
// earlier graph may still be using: those of a named buffer, or the ones where outlasting buffers lie (core/plan.h).
#pragma once

#include <array>
#include <vector>

#include "core/graph.h"
#include "core/plan.h"
#include "core/schedule.h"

namespace shardit {

// Memory that graphs have in common: MemoryPlan::kOutlasting, or a named buffer by its place among them.
struct Shared {
  int index = -1;
  bool doubled = false;  // a double buffer: the run's slot matters
};

struct Handover {
  struct Meeting {
    Shared memory;
    bool writes = false;  // else it only reads, and need not wait for others that read
  };
  struct Leaving {
    Shared memory;
    int step = -1;  // the last of its stream to touch, or to write
    bool writes = false;
  };
  std::vector<std::vector<Meeting>> meets;  // by step: what it is the first of its stream to touch, or to write
  std::vector<Leaving> leaves;              // what may be in use when the graph's compute stream is at its end
};

Handover find_handover(const Graph& graph, const Schedule& schedule, const GraphPlan& plan);

// By memory, slot and stream: the last event, of all graphs that ran, that others must wait for.
class InUse {
 public:
  struct Event {
    int id = -1;    // -1: nothing to wait for
    int label = 0;  // what waiting for it is counted as
  };

  explicit InUse(size_t memories) : memories_(memories) {}

  void leave(const Shared& memory, int slot, Stream stream, bool writes, Event event) {
    Uses& uses = memories_[memory.index][memory.doubled ? slot : 0][static_cast<int>(stream)];
    (writes ? uses.written : uses.touched) = event;
  }

  // Calls wait(event) for each event of another stream that a step on `stream` must see before it touches the memory.
  template <typename Wait> void meet(const Shared& memory, int slot, Stream stream, bool writes, Wait wait) const {
    for (int s = 0; s < kStreams; ++s) {
      if (s == static_cast<int>(stream)) continue;
      const Uses& uses = memories_[memory.index][memory.doubled ? slot : 0][s];
      if (uses.written.id >= 0) wait(uses.written);
      if (writes && uses.touched.id >= 0) wait(uses.touched);
    }
  }

 private:
  struct Uses {
    Event written, touched;
  };
  std::vector<std::array<std::array<Uses, kStreams>, 2>> memories_;
};

}  // namespace shardit

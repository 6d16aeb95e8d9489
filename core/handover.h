// What the runs of a program's graphs owe each other. The compute stream does not wait at a graph's end for the streams
// beside it: they go on while the next graph computes. A step of a later graph waits only where it meets bytes that an
// earlier one may still be using: a named buffer's, or those of a buffer that outlasts its graph (core/plan.h).
#pragma once

#include <array>
#include <vector>

#include "core/graph.h"
#include "core/plan.h"
#include "core/schedule.h"

namespace shardit {

struct Handover {
  struct Meeting {
    int memory = -1;      // of MemoryPlan::shared
    bool writes = false;  // else it only reads, and need not wait for others that read
  };
  struct Leaving {
    int memory = -1;
    int step = -1;  // the last of its stream to touch it, or to write to it
    bool writes = false;
  };
  std::vector<std::vector<Meeting>> meets;  // by step: what it is the first of its stream to touch, or to write to
  std::vector<Leaving> leaves;              // what may be in use when the graph's compute stream is at its end
};

// `index`: of the graph in the plan.
Handover find_handover(const Graph& graph, const Schedule& schedule, const MemoryPlan& plan, int index);

// By memory, slot and stream: the last event, of all graphs that ran, that others must wait for.
class InUse {
 public:
  struct Event {
    int id = -1;    // -1: nothing to wait for
    int label = 0;  // what waiting for it is counted as
  };

  explicit InUse(const MemoryPlan& plan) : shared_(plan.shared), uses_(plan.shared.size()) {}

  void leave(int memory, int slot, Stream stream, bool writes, Event event) {
    Uses& uses = uses_[memory][shared_[memory].doubled ? slot : 0][static_cast<int>(stream)];
    (writes ? uses.written : uses.touched) = event;
  }

  // Calls wait(event) for each event of another stream that a step on `stream` must see before it touches the memory.
  template <typename Wait> void meet(int memory, int slot, Stream stream, bool writes, Wait wait) const {
    for (int other : shared_[memory].overlaps)
      for (int s = 0; s < kStreams; ++s) {
        if (s == static_cast<int>(stream)) continue;
        const Uses& uses = uses_[other][shared_[other].doubled ? slot : 0][s];
        if (uses.written.id >= 0) wait(uses.written);
        if (writes && uses.touched.id >= 0) wait(uses.touched);
      }
  }

 private:
  struct Uses {
    Event written, touched;
  };
  std::vector<SharedMemory> shared_;
  std::vector<std::array<std::array<Uses, kStreams>, 2>> uses_;
};

}  // namespace shardit

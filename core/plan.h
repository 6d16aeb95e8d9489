// Memory, planned before anything runs: every buffer of a program gets its place in one arena.
//
// A program is a set of graphs that run one after another over the same named buffers (a micro-step, an update, a
// sampling step). Named buffers are persistent and have places of their own, shared by name. All other values are
// transient: two of them share bytes only if the schedule's partial order proves one dead before the other is born.
// The transient parts of all graphs overlay each other, since graphs never compute at the same time. Buffers that
// another stream may still use when a graph's compute stream is at its end are the exception: they outlast their graph
// and lie in a part of their own, so that the next graph may compute meanwhile (core/handover.h).
#pragma once

#include <iterator>
#include <map>
#include <string>
#include <vector>

#include "core/graph.h"
#include "core/schedule.h"
#include "core/target.h"

namespace shardit {

inline constexpr int64_t kAlignment = 256;  // bytes; every buffer starts on a multiple

struct NamedBuffer {
  BufferClass buffer_class = BufferClass::kActivations;
  int64_t bytes = 0;         // of one slot
  int slots = 1;             // 2: double buffered
  int64_t offset = 0;        // from the arena's start; slot i lies i * slot_stride() further
  int64_t host_offset = -1;  // of its copy from the start of the host's copies, laid out alike; -1: it has none
  int64_t slot_stride() const { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }
};

struct Place {
  int64_t offset = 0;       // from the arena's start, in slot 0
  int64_t slot_stride = 0;  // bytes from slot 0 to slot 1; 0 where there is one slot
  int shared = -1;          // which of MemoryPlan::shared it lies in; -1: it is the graph's own
};

// Memory that a graph may find in use when it starts.
struct SharedMemory {
  std::string name;  // of the buffer; empty: a buffer that outlasts its graph
  int64_t offset = 0, bytes = 0;
  bool doubled = false;       // a double buffer: what is in use in one slot is not in the other
  std::vector<int> overlaps;  // which of MemoryPlan::shared have bytes of it, itself included
};

struct GraphPlan {
  std::vector<Place> values;       // by value id
  std::vector<int64_t> workspace;  // by node: offset of its scratch, -1 if it has none
  int64_t transient_bytes = 0, outlasting_bytes = 0;
};

struct MemoryPlan {
  std::map<std::string, NamedBuffer> buffers;
  std::vector<GraphPlan> graphs;  // in the order given
  int64_t transient_offset = 0, transient_bytes = 0;
  int64_t wire_bytes = 0;  // what buffers that other ranks see add to those of the graphs, outlasting ones included
  int64_t outlasting_offset = 0, outlasting_bytes = 0;
  int64_t workspace_offset = 0, workspace_bytes = 0;
  int64_t arena_bytes = 0;
  int64_t host_bytes = 0;            // of the copies in host memory, where the target has some
  std::vector<SharedMemory> shared;  // the named buffers in their order, then those that outlast a graph

  int shared_index(const std::string& buffer) const {
    return static_cast<int>(std::distance(buffers.begin(), buffers.find(buffer)));
  }

  // What `shardit plan` prints; the sum over classes is arena_bytes, and host_bytes on top where there are any.
  std::map<BufferClass, int64_t> bytes_by_class() const;
};

struct ScheduledGraph {
  const Graph* graph;
  const Schedule* schedule;
};

MemoryPlan plan_memory(const std::vector<ScheduledGraph>& program, const Target& target);

// One line per step: stream, what it waits for, label, op, and where its outputs lie; for --dump-graph.
std::string describe_plan(const Graph& graph, const Schedule& schedule, const Target& target);

}  // namespace shardit

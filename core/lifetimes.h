// Which values share a buffer because an op says so, and from which step to which each buffer is in use.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "core/graph.h"
#include "core/schedule.h"

namespace shardit {

// Bytes that live and die together: a value, the windows into it, and what updates it in place.
struct Buffer {
  int64_t bytes = 0;
  std::string name;  // persistent under this name; empty: transient
  BufferClass buffer_class = BufferClass::kActivations;
  int slots = 1;
  std::vector<int> values;
  std::array<int, kStreams> first, last;          // per stream: first and last step that touches it, -1 for none
  int64_t offset = 0;                             // transient: assigned by the planner
  bool alive() const { return !values.empty(); }  // false once merged into another
};

struct Window {
  int buffer = -1;
  int64_t offset = 0;  // bytes
};

struct Lifetimes {
  std::vector<Buffer> buffers;
  std::vector<Window> windows;  // by value id
};

Lifetimes find_lifetimes(const Graph& graph, const Schedule& schedule);

// Whether some step that touches `a` and some step that touches `b` are not proven to be apart.
bool may_overlap(const Schedule& schedule, const Buffer& a, const Buffer& b);

}  // namespace shardit

#include "core/simulate.h"

#include <algorithm>

#include <glog/logging.h>

namespace shardit {
namespace {

constexpr const char* kEnd = "end";

int index_of(Stream stream) { return static_cast<int>(stream); }

std::string awaited(const Graph& graph, const Step& step) {
  const Node& node = graph.node(step.node);
  return node.unit.empty() ? node.label : node.unit;
}

}  // namespace

double Timeline::total_exposed_ms() const {
  double sum = 0;
  for (const auto& [label, each] : exposed_ms) sum += each;
  return sum;
}

Timeline simulate(const Graph& graph, const Schedule& schedule, std::span<const double> duration_ms, Issue issue) {
  CHECK_EQ(duration_ms.size(), schedule.steps.size());
  Timeline t;
  std::array<double, kStreams> now{};  // when each stream is done with what it has had so far
  for (size_t s = 0; s < schedule.steps.size(); ++s) {
    const Step& step = schedule.steps[s];
    double& own = now[index_of(step.stream)];
    if (issue == Issue::kComputing) own = std::max(own, now[index_of(Stream::kCompute)]);
    for (int w : step.waits) {
      const Step& other = schedule.steps[w];
      const double idle = t.steps[w].end_ms - own;
      if (idle <= 0) continue;
      own = t.steps[w].end_ms;
      if (step.stream == Stream::kCompute && other.stream == Stream::kWire) t.exposed_ms[awaited(graph, other)] += idle;
    }
    t.steps.push_back({own, own + duration_ms[s]});
    own += duration_ms[s];
    t.busy_ms[index_of(step.stream)] += duration_ms[s];
  }
  t.ms = *std::max_element(now.begin(), now.end());
  const double tail = now[index_of(Stream::kWire)] - now[index_of(Stream::kCompute)];
  if (tail > 0) t.exposed_ms[kEnd] = tail;
  return t;
}

}  // namespace shardit

#include "core/simulate.h"

#include <algorithm>

#include <glog/logging.h>

namespace shardit {
namespace {

const std::string& label_of(const Graph& graph, const Step& step) {
  const Node& node = graph.node(step.node);
  return node.unit.empty() ? node.label : node.unit;
}

}  // namespace

void Simulation::wait(Stream stream, double until_ms, const std::string& label) {
  double& own = clock_of(stream);
  if (until_ms <= own) return;
  if (stream == Stream::kCompute) exposed_[label] += until_ms - own;
  own = until_ms;
}

void Simulation::meet(int memory, int slot, Stream stream, bool writes) {
  in_use_.meet(memory, slot, stream, writes,
               [&](InUse::Event event) { wait(stream, past_[event.id].end_ms, past_[event.id].label); });
}

std::vector<Simulation::Span> Simulation::run(const Graph& graph, const Schedule& schedule, const Handover& handover,
                                              std::span<const double> duration_ms, int slot) {
  CHECK_EQ(duration_ms.size(), schedule.steps.size());
  std::vector<Span> spans;
  const double begin = ms(Stream::kCompute);  // the other streams begin after what was computed before
  for (size_t s = 0; s < schedule.steps.size(); ++s) {
    const Step& step = schedule.steps[s];
    double& own = clock_of(step.stream);
    own = std::max(own, issue_ == Issue::kComputing ? ms(Stream::kCompute) : begin);
    for (const Handover::Meeting& m : handover.meets[s]) meet(m.memory, slot, step.stream, m.writes);
    for (int w : step.waits) wait(step.stream, spans[w].end_ms, label_of(graph, schedule.steps[w]));
    spans.push_back({own, own + duration_ms[s]});
    own += duration_ms[s];
    busy_[static_cast<int>(step.stream)] += duration_ms[s];
  }
  for (const Handover::Leaving& left : handover.leaves) {
    const Step& step = schedule.steps[left.step];
    in_use_.leave(left.memory, slot, step.stream, left.writes, {.id = static_cast<int>(past_.size())});
    past_.push_back({spans[left.step].end_ms, label_of(graph, step)});
  }
  return spans;
}

}  // namespace shardit

#include "core/schedule.h"

#include <algorithm>

#include "core/op_card.h"
#include "core/windows.h"

namespace shardit {
namespace {

// The steps whose end `node` needs: the producers of what it reads, the readers of what it overwrites, and what a pass
// put before it. An input is there before the graph runs; its step signals nothing, so that waiting for it would prove
// nothing.
std::vector<int> dependencies(const Graph& graph, const std::vector<Extent>& extents,
                              const std::vector<std::vector<int>>& consumers, int index) {
  std::vector<int> result;
  for (int v : graph.node(index).in)
    if (graph.producer(v).card != &input_card) result.push_back(graph.info(v).node);
  for (int reader : readers_of_overwritten(graph, extents, consumers, index))
    if (reader < index) result.push_back(reader);
  for (int before : graph.node(index).after) result.push_back(before);
  return result;
}

void join(std::array<int, kStreams>& seen, const Step& before) {
  for (int s = 0; s < kStreams; ++s) seen[s] = std::max(seen[s], before.seen[s]);
  int& own = seen[static_cast<int>(before.stream)];
  own = std::max(own, before.position + 1);
}

}  // namespace

Schedule schedule(const Graph& graph) {
  Schedule result;
  const auto consumers = graph.consumers();
  const std::vector<Extent> extents = find_extents(graph);
  std::array<int, kStreams> length = {};
  std::array<int, kStreams> last = {-1, -1, -1};
  for (int n = 0; n < graph.node_count(); ++n) {
    Step step{.node = n, .stream = graph.node(n).stream};
    const int s = static_cast<int>(step.stream);
    step.position = length[s]++;
    if (last[s] >= 0) join(step.seen, result.steps[last[s]]);
    for (int d : dependencies(graph, extents, consumers, n)) {
      const Step& before = result.steps[d];
      if (step.seen[static_cast<int>(before.stream)] > before.position) continue;  // already proven
      step.waits.push_back(d);
      join(step.seen, before);
    }
    last[s] = n;
    result.steps.push_back(std::move(step));
  }
  if (const int end = last[static_cast<int>(Stream::kCompute)]; end >= 0) join(result.ended, result.steps[end]);
  return result;
}

}  // namespace shardit

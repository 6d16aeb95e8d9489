#include "core/handover.h"

#include <map>
#include <utility>

#include "core/op_card.h"

namespace shardit {
namespace {

class Finder {
 public:
  Finder(const Graph& graph, const Schedule& schedule, const MemoryPlan& plan, int index)
      : graph_(graph),
        schedule_(schedule),
        plan_(plan),
        places_(plan.graphs[index].values) {
    result_.meets.resize(schedule.steps.size());
  }

  Handover run() {
    for (int s = 0; s < static_cast<int>(schedule_.steps.size()); ++s) {
      const Node& node = graph_.node(schedule_.steps[s].node);
      if (!touches_memory(graph_, node)) continue;
      for (int v : node.in) touch(s, v, false);
      for (int v : node.out) touch(s, v, true);
    }
    for (const auto& [key, use] : uses_) {
      if (schedule_.over_at_end(use.last)) continue;
      result_.leaves.push_back({key.first, use.last, false});
      if (use.last_write >= 0) result_.leaves.push_back({key.first, use.last_write, true});
    }
    return std::move(result_);
  }

 private:
  struct Use {
    int last = -1, last_write = -1;
  };

  void touch(int s, int value, bool writes) {
    const int memory = places_[value].shared;
    if (memory < 0) return;
    writes |= plan_.shared[memory].name.empty();  // what lies over it in another graph is lost, whoever touches it
    Use& use = uses_[{memory, schedule_.steps[s].stream}];
    const bool meets = use.last < 0 || (writes && use.last_write < 0);
    use.last = s;
    if (writes) use.last_write = s;
    if (meets) result_.meets[s].push_back({memory, writes});
  }

  const Graph& graph_;
  const Schedule& schedule_;
  const MemoryPlan& plan_;
  const std::vector<Place>& places_;
  std::map<std::pair<int, Stream>, Use> uses_;
  Handover result_;
};

}  // namespace

Handover find_handover(const Graph& graph, const Schedule& schedule, const MemoryPlan& plan, int index) {
  return Finder(graph, schedule, plan, index).run();
}

}  // namespace shardit

#include "core/lifetimes.h"

#include <algorithm>
#include <climits>

#include <glog/logging.h>
#include "core/op_card.h"

namespace shardit {
namespace {

constexpr int kEnd = INT_MAX;  // after the graph's last step

// All touches of `a` are over before any of `b` begins.
bool all_before(const Schedule& schedule, const Buffer& a, const Buffer& b) {
  for (int last : a.last)
    for (int first : b.first) {
      if (last < 0 || first < 0) continue;
      if (last == kEnd || !schedule.happens_before(last, first)) return false;
    }
  return true;
}

class Merger {
 public:
  Merger(const Graph& graph, const Schedule& schedule) : graph_(graph), schedule_(schedule) {
    for (int v = 0; v < graph.value_count(); ++v) {
      const ValueInfo& info = graph.info(v);
      Buffer buffer{.bytes = info.type.bytes(),
                    .name = info.buffer,
                    .buffer_class = info.buffer_class,
                    .slots = info.slots,
                    .values = {v}};
      buffer.first.fill(-1);
      buffer.last.fill(-1);
      result_.buffers.push_back(std::move(buffer));
      result_.windows.push_back({v, 0});
    }
    for (int s = 0; s < static_cast<int>(schedule.steps.size()); ++s) touch_all(s);
    for (const auto& [name, v] : graph.outputs()) result_.buffers[v].last[0] = kEnd;
  }

  Lifetimes run() {
    for (const Step& step : schedule_.steps) merge_required(graph_.node(step.node));
    for (int s = 0; s < static_cast<int>(schedule_.steps.size()); ++s) merge_reuse(s);
    return std::move(result_);
  }

 private:
  void touch_all(int s) {
    const Node& node = graph_.node(schedule_.steps[s].node);
    for (const auto* list : {&node.in, &node.out})
      for (int v : *list) touch(result_.buffers[v], s);
  }

  void touch(Buffer& buffer, int s) {
    const int stream = static_cast<int>(schedule_.steps[s].stream);
    if (buffer.first[stream] < 0) buffer.first[stream] = s;
    buffer.last[stream] = s;
  }

  // Puts all of `inner`'s bytes at `offset` bytes within `outer`.
  void merge(int inner, int outer, int64_t offset) {
    Buffer &from = result_.buffers[inner], &to = result_.buffers[outer];
    CHECK(from.name.empty() || to.name.empty() || from.name == to.name)
        << "buffers " << from.name << " and " << to.name << " would have to be the same memory";
    if (to.name.empty() && !from.name.empty()) {
      CHECK_EQ(from.bytes, to.bytes) << "persistent buffer " << from.name << " would lie inside a transient one";
      to.name = from.name;
      to.buffer_class = from.buffer_class;
      to.slots = from.slots;
    }
    for (int v : from.values) {
      result_.windows[v] = {outer, result_.windows[v].offset + offset};
      to.values.push_back(v);
    }
    from.values.clear();
    for (int s = 0; s < kStreams; ++s) {
      if (from.first[s] >= 0) to.first[s] = to.first[s] < 0 ? from.first[s] : std::min(to.first[s], from.first[s]);
      to.last[s] = std::max(to.last[s], from.last[s]);
    }
  }

  void merge_required(const Node& node) {
    if (!node.card->alias) return;
    const NodeTypes types = types_of(graph_, node);
    for (const Alias& alias : node.card->alias(types)) {
      if (alias.kind == Alias::kReuse) continue;
      const int in = node.in[alias.in], out = node.out[alias.out];
      const Window in_window = result_.windows[in], out_window = result_.windows[out];
      const int64_t offset = alias.offset * static_cast<int64_t>(size_of(types.in[alias.in].dtype));
      if (alias.kind == Alias::kPlace) {
        const Buffer& placed = result_.buffers[in_window.buffer];
        CHECK(in_window.offset == 0 && placed.bytes == types.in[alias.in].bytes() && placed.name.empty())
            << node.label << ": input " << alias.in << " already lies in another buffer";
        merge(in_window.buffer, out_window.buffer, out_window.offset + offset);
      } else {
        CHECK_EQ(out_window.offset, 0) << node.label << ": an output already lies in another buffer";
        merge(out_window.buffer, in_window.buffer, in_window.offset + offset);
      }
    }
  }

  // Lets an output take over an input's bytes where this step is the last to touch them.
  void merge_reuse(int s) {
    const Node& node = graph_.node(schedule_.steps[s].node);
    if (!node.card->alias) return;
    const NodeTypes types = types_of(graph_, node);
    for (const Alias& alias : node.card->alias(types)) {
      if (alias.kind != Alias::kReuse) continue;
      const int from = result_.windows[node.in[alias.in]].buffer, to = result_.windows[node.out[alias.out]].buffer;
      const Buffer &dying = result_.buffers[from], &born = result_.buffers[to];
      const bool whole = dying.bytes == born.bytes && dying.bytes == types.in[alias.in].bytes() &&
                         types.in[alias.in].bytes() == types.out[alias.out].bytes();
      if (from == to || !whole || !dying.name.empty() || !born.name.empty()) continue;
      if (over_at(dying, s) && begins_at(born, s)) merge(to, from, 0);
    }
  }

  bool over_at(const Buffer& buffer, int s) const {
    for (int last : buffer.last)
      if (last >= 0 && last != s && (last == kEnd || !schedule_.happens_before(last, s))) return false;
    return true;
  }

  bool begins_at(const Buffer& buffer, int s) const {
    for (int first : buffer.first)
      if (first >= 0 && first != s && !schedule_.happens_before(s, first)) return false;
    return true;
  }

  const Graph& graph_;
  const Schedule& schedule_;
  Lifetimes result_;
};

}  // namespace

Lifetimes find_lifetimes(const Graph& graph, const Schedule& schedule) { return Merger(graph, schedule).run(); }

bool may_overlap(const Schedule& schedule, const Buffer& a, const Buffer& b) {
  return !all_before(schedule, a, b) && !all_before(schedule, b, a);
}

}  // namespace shardit

#include "core/plan.h"

#include <algorithm>
#include <numeric>

#include <glog/logging.h>
#include "core/lifetimes.h"
#include "core/op_card.h"

namespace shardit {
namespace {

int64_t aligned(int64_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

bool crosses_the_wire(const Buffer& buffer) { return buffer.first[static_cast<int>(Stream::kWire)] >= 0; }

// Whether a stream beside the compute stream may still use it when that one is at its end.
bool outlasts(const Schedule& schedule, const Buffer& buffer) {
  for (int s = 0; s < kStreams; ++s)
    if (s != static_cast<int>(Stream::kCompute) && buffer.last[s] >= 0 && !schedule.over_at_end(buffer.last[s]))
      return true;
  return false;
}

// Places the graph's own buffers, or those that outlast it: from the largest to the smallest, each at the lowest offset
// where no buffer that may be alive at the same time lies. Returns the bytes used.
int64_t place(const Schedule& schedule, std::vector<Buffer>& buffers, bool outlasting) {
  std::vector<int> order;
  for (size_t i = 0; i < buffers.size(); ++i)
    if (buffers[i].alive() && buffers[i].name.empty() && outlasts(schedule, buffers[i]) == outlasting)
      order.push_back(static_cast<int>(i));
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return buffers[a].bytes > buffers[b].bytes; });

  int64_t used = 0;
  std::vector<int> placed;
  std::vector<std::pair<int64_t, int64_t>> taken;
  for (int i : order) {
    taken.clear();
    for (int j : placed)
      if (may_overlap(schedule, buffers[i], buffers[j]))
        taken.emplace_back(buffers[j].offset, buffers[j].offset + aligned(buffers[j].bytes));
    std::sort(taken.begin(), taken.end());
    int64_t offset = 0;
    for (const auto& [begin, end] : taken) {
      if (offset + aligned(buffers[i].bytes) <= begin) break;
      offset = std::max(offset, end);
    }
    buffers[i].offset = offset;
    used = std::max(used, offset + aligned(buffers[i].bytes));
    placed.push_back(i);
  }
  return used;
}

// What the same graph would need if nothing of it crossed the wire.
int64_t bytes_without_the_wire(const Schedule& schedule, std::vector<Buffer> buffers) {
  std::erase_if(buffers, [](const Buffer& b) { return b.name.empty() && crosses_the_wire(b); });
  return place(schedule, buffers, false);
}

void register_named(const std::vector<Buffer>& buffers, std::map<std::string, NamedBuffer>& named) {
  for (const Buffer& buffer : buffers) {
    if (!buffer.alive() || buffer.name.empty()) continue;
    NamedBuffer& entry = named[buffer.name];
    CHECK(entry.bytes == 0 || entry.bytes == buffer.bytes)
        << "buffer " << buffer.name << " has " << entry.bytes << " bytes in one graph and " << buffer.bytes
        << " in another";
    entry.bytes = buffer.bytes;
    entry.buffer_class = buffer.buffer_class;
    entry.slots = std::max(entry.slots, buffer.slots);
  }
}

// Scratch: nodes of one stream run one after another and share it, whatever their graphs.
void plan_workspace(const std::vector<ScheduledGraph>& program, const Target& target, MemoryPlan& plan) {
  int64_t per_stream[kStreams] = {};
  const auto scratch_of = [&](const Graph& graph, const Node& node) -> int64_t {
    const OpCard& card = *node.card;
    if (target.kernels == Kernels::kCuda) return card.cuda_workspace ? card.cuda_workspace(types_of(graph, node)) : 0;
    return card.workspace ? card.workspace(types_of(graph, node), target.threads) : 0;
  };
  for (const auto& [graph, schedule] : program)
    for (const Step& step : schedule->steps) {
      int64_t& most = per_stream[static_cast<int>(step.stream)];
      most = std::max(most, aligned(scratch_of(*graph, graph->node(step.node))));
    }
  int64_t start[kStreams + 1] = {};
  std::partial_sum(per_stream, per_stream + kStreams, start + 1);
  for (size_t g = 0; g < program.size(); ++g) {
    const auto& [graph, schedule] = program[g];
    std::vector<int64_t>& workspace = plan.graphs[g].workspace;
    workspace.assign(graph->node_count(), -1);
    for (const Step& step : schedule->steps)
      if (scratch_of(*graph, graph->node(step.node)) > 0)
        workspace[step.node] = plan.workspace_offset + start[static_cast<int>(step.stream)];
  }
  plan.workspace_bytes = start[kStreams];
}

void plan_host_copies(const Target& target, MemoryPlan& plan) {
  if (!target.copied_on_host) return;
  for (auto& [name, buffer] : plan.buffers) {
    if (!target.copied_on_host(name)) continue;
    buffer.host_offset = plan.host_bytes;
    plan.host_bytes += buffer.slots * buffer.slot_stride();
  }
}

void share_named(MemoryPlan& plan) {
  for (const auto& [name, buffer] : plan.buffers) {
    const int own = static_cast<int>(plan.shared.size());
    plan.shared.push_back({name, buffer.offset, buffer.slots * buffer.slot_stride(), buffer.slots > 1, {own}});
  }
}

// Those of several graphs lie over each other.
void share_outlasting(int64_t offset, int64_t bytes, MemoryPlan& plan) {
  const int own = static_cast<int>(plan.shared.size());
  SharedMemory& memory = plan.shared.emplace_back(SharedMemory{.offset = offset, .bytes = bytes, .overlaps = {own}});
  for (int i = static_cast<int>(plan.buffers.size()); i < own; ++i) {
    SharedMemory& other = plan.shared[i];
    if (other.offset >= offset + bytes || offset >= other.offset + other.bytes) continue;
    memory.overlaps.push_back(i);
    other.overlaps.push_back(own);
  }
}

// Where each value lies, once all parts have their places.
std::vector<Place> places_of(const Lifetimes& lifetimes, const Schedule& schedule, MemoryPlan& plan) {
  std::vector<int> outlasting(lifetimes.buffers.size(), -1);
  for (size_t b = 0; b < lifetimes.buffers.size(); ++b) {
    const Buffer& buffer = lifetimes.buffers[b];
    if (!buffer.alive() || !buffer.name.empty() || !outlasts(schedule, buffer)) continue;
    outlasting[b] = static_cast<int>(plan.shared.size());
    share_outlasting(plan.outlasting_offset + buffer.offset, buffer.bytes, plan);
  }
  std::vector<Place> places;
  for (const Window& window : lifetimes.windows) {
    const Buffer& buffer = lifetimes.buffers[window.buffer];
    if (!buffer.name.empty()) {
      const NamedBuffer& named = plan.buffers.at(buffer.name);
      places.push_back({.offset = named.offset + window.offset,
                        .slot_stride = named.slots > 1 ? named.slot_stride() : 0,
                        .shared = plan.shared_index(buffer.name)});
    } else if (const int shared = outlasting[window.buffer]; shared >= 0) {
      places.push_back({.offset = plan.shared[shared].offset + window.offset, .shared = shared});
    } else {
      places.push_back({.offset = plan.transient_offset + buffer.offset + window.offset});
    }
  }
  return places;
}

}  // namespace

MemoryPlan plan_memory(const std::vector<ScheduledGraph>& program, const Target& target) {
  MemoryPlan plan;
  std::vector<Lifetimes> lifetimes;
  int64_t without_the_wire = 0;
  for (const auto& [graph, schedule] : program) {
    lifetimes.push_back(find_lifetimes(*graph, *schedule));
    std::vector<Buffer>& buffers = lifetimes.back().buffers;
    GraphPlan& own = plan.graphs.emplace_back();
    own.transient_bytes = place(*schedule, buffers, false);
    own.outlasting_bytes = place(*schedule, buffers, true);
    without_the_wire = std::max(without_the_wire, bytes_without_the_wire(*schedule, buffers));
    register_named(buffers, plan.buffers);
    plan.transient_bytes = std::max(plan.transient_bytes, own.transient_bytes);
    plan.outlasting_bytes = std::max(plan.outlasting_bytes, own.outlasting_bytes);
  }
  plan.wire_bytes = plan.transient_bytes - without_the_wire + plan.outlasting_bytes;

  int64_t offset = 0;
  for (auto& [name, buffer] : plan.buffers) {
    buffer.offset = offset;
    offset += buffer.slots * buffer.slot_stride();
  }
  plan.transient_offset = offset;
  plan.outlasting_offset = offset + plan.transient_bytes;
  plan.workspace_offset = plan.outlasting_offset + plan.outlasting_bytes;
  plan_workspace(program, target, plan);
  plan.arena_bytes = plan.workspace_offset + plan.workspace_bytes;
  plan_host_copies(target, plan);
  share_named(plan);
  for (size_t g = 0; g < program.size(); ++g)
    plan.graphs[g].values = places_of(lifetimes[g], *program[g].schedule, plan);
  return plan;
}

std::map<BufferClass, int64_t> MemoryPlan::bytes_by_class() const {
  std::map<BufferClass, int64_t> bytes;
  for (const auto& [name, buffer] : buffers) bytes[buffer.buffer_class] += buffer.slots * buffer.slot_stride();
  bytes[BufferClass::kActivations] += transient_bytes + outlasting_bytes - wire_bytes;
  if (wire_bytes > 0) bytes[BufferClass::kWire] += wire_bytes;
  bytes[BufferClass::kWorkspace] += workspace_bytes;
  if (host_bytes > 0) bytes[BufferClass::kHostCopies] += host_bytes;
  return bytes;
}

std::string describe_plan(const Graph& graph, const Schedule& schedule, const Target& target) {
  const MemoryPlan plan = plan_memory({{&graph, &schedule}}, target);
  std::string text;
  for (size_t s = 0; s < schedule.steps.size(); ++s) {
    const Step& step = schedule.steps[s];
    const Node& node = graph.node(step.node);
    text += std::to_string(s) + " " + name_of(step.stream) + " " + node.label + " (" + node.card->name + ")";
    for (int w : step.waits) text += " waits:" + std::to_string(w);
    for (int v : node.out) {
      const int64_t offset = plan.graphs[0].values[v].offset;
      text += " [" + std::to_string(offset) + ", " + std::to_string(offset + graph.info(v).type.bytes()) + ")";
    }
    text += "\n";
  }
  return text + "arena " + std::to_string(plan.arena_bytes) + " bytes\n";
}

}  // namespace shardit

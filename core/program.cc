#include "core/program.h"

#include <omp.h>

#include <chrono>
#include <set>

#include <glog/logging.h>
#include "core/error.h"
#include "core/op_card.h"
#include "core/verify.h"

namespace shardit {

CompiledProgram compile(std::vector<NamedGraph> graphs, int threads) {
  omp_set_num_threads(1);  // kernels are prepared, and their scratch planned, for single-threaded library calls
  CompiledProgram result{.graphs = std::move(graphs)};
  std::vector<ScheduledGraph> scheduled;
  for (const NamedGraph& g : result.graphs) {
    verify(g.graph, g.name);
    result.schedules.push_back(schedule(g.graph));
  }
  for (size_t i = 0; i < result.graphs.size(); ++i)
    scheduled.push_back({&result.graphs[i].graph, &result.schedules[i]});
  result.memory = plan_memory(scheduled, threads);
  return result;
}

Program::Program(CompiledProgram compiled, Device& device, Pool& pool)
    : compiled_(std::move(compiled)),
      device_(device),
      pool_(pool) {
  allocated_bytes_ = std::max<int64_t>(compiled_.memory.arena_bytes, kAlignment);
  arena_ = static_cast<std::byte*>(device_.allocate(static_cast<size_t>(allocated_bytes_)));
  for (size_t g = 0; g < compiled_.graphs.size(); ++g) {
    launches_.push_back(bind(static_cast<int>(g)));
    std::set<Stream> used;
    for (const Launch& launch : launches_.back()) used.insert(launch.step->stream);
    used.erase(Stream::kCompute);
    side_streams_.emplace_back(used.begin(), used.end());
    waited_at_end_.push_back(waits_of("end of " + compiled_.graphs[g].name));
  }
}

Program::~Program() {
  device_.synchronize();
  device_.release(arena_, static_cast<size_t>(allocated_bytes_));
}

std::vector<TensorRef> Program::refs(int graph, const std::vector<int>& values, int slot) {
  std::vector<TensorRef> result;
  for (int v : values) {
    const Place& place = compiled_.memory.graphs[graph].values[v];
    result.push_back({arena_ + place.offset + slot * place.slot_stride, compiled_.graphs[graph].graph.info(v).type});
  }
  return result;
}

std::vector<Program::Launch> Program::bind(int g) {
  const Graph& graph = compiled_.graphs[g].graph;
  const Schedule& schedule = compiled_.schedules[g];
  std::vector<bool> awaited(schedule.steps.size(), false);
  for (const Step& step : schedule.steps)
    for (int w : step.waits) awaited[w] = true;

  std::vector<Launch> launches;
  for (size_t s = 0; s < schedule.steps.size(); ++s) {
    const Step& step = schedule.steps[s];
    const Node& node = graph.node(step.node);
    if (node.card == &input_card) continue;
    Launch& launch = launches.emplace_back();
    launch.node = &node;
    launch.step = &step;
    launch.index = static_cast<int>(s);
    launch.signals = awaited[s];
    for (int w : step.waits) {
      const Node& other = graph.node(schedule.steps[w].node);
      const bool counts = step.stream == Stream::kCompute && schedule.steps[w].stream == Stream::kWire;
      launch.waited.push_back(counts ? waits_of(other.unit.empty() ? other.label : other.unit) : -1);
    }
    for (int slot = 0; slot < 2; ++slot) {
      launch.in[slot] = refs(g, node.in, slot);
      launch.out[slot] = refs(g, node.out, slot);
    }
    if (node.card->prepare) launch.prepared = node.card->prepare(types_of(graph, node));
    const int64_t workspace = compiled_.memory.graphs[g].workspace[step.node];
    launch.workspace = workspace < 0 ? nullptr : arena_ + workspace;
  }
  return launches;
}

void Program::run(int g, int slot) {
  CHECK(slot == 0 || slot == 1) << "there is no slot " << slot;
  fork(g);
  for (const Launch& launch : launches_[g]) {
    const Step& step = *launch.step;
    for (size_t w = 0; w < step.waits.size(); ++w) {
      if (launch.waited[w] < 0)
        device_.wait(step.stream, step.waits[w]);
      else
        wait_for_wire(step.waits[w], launch.waited[w]);
    }
    const KernelArgs args{.in = launch.in[slot],
                          .out = launch.out[slot],
                          .attrs = launch.node->attrs.get(),
                          .prepared = launch.prepared.get(),
                          .workspace = launch.workspace,
                          .pool = step.stream == Stream::kCompute ? &pool_ : &wire_pool_};
    device_.launch(step.stream, *launch.node->card, args);
    if (launch.signals) device_.record(step.stream, launch.index);
    if (observer_) {
      device_.synchronize();
      observer_(*launch.node, launch.out[slot]);
    }
  }
  join(g);
}

// Graphs run one after another: the side streams begin after what the compute stream did before, and the compute stream
// goes on after all of them.
void Program::fork(int g) {
  if (side_streams_[g].empty()) return;
  const int event = static_cast<int>(compiled_.schedules[g].steps.size());
  device_.record(Stream::kCompute, event);
  for (Stream side : side_streams_[g]) device_.wait(side, event);
}

void Program::join(int g) {
  int event = static_cast<int>(compiled_.schedules[g].steps.size());
  for (Stream side : side_streams_[g]) {
    device_.record(side, ++event);
    if (side == Stream::kWire)
      wait_for_wire(event, waited_at_end_[g]);
    else
      device_.wait(Stream::kCompute, event);
  }
}

int Program::waits_of(const std::string& label) {
  for (size_t i = 0; i < waited_.size(); ++i)
    if (waited_[i].label == label) return static_cast<int>(i);
  waited_.push_back({label, 0});
  return static_cast<int>(waited_.size()) - 1;
}

void Program::wait_for_wire(int event, int waited) {
  const auto begin = std::chrono::steady_clock::now();
  device_.wait(Stream::kCompute, event);
  waited_[waited].ms += std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count();
}

double Program::waited_ms() const {
  double ms = 0;
  for (const Waited& w : waited_) ms += w.ms;
  return ms;
}

bool Program::has_graph(const std::string& graph) const {
  for (const NamedGraph& g : compiled_.graphs)
    if (g.name == graph) return true;
  return false;
}

int Program::index_of(const std::string& graph) const {
  for (size_t i = 0; i < compiled_.graphs.size(); ++i)
    if (compiled_.graphs[i].name == graph) return static_cast<int>(i);
  LOG(FATAL) << "the program has no graph " << graph;
}

const NamedBuffer& Program::buffer(const std::string& name, int64_t bytes, int slot) const {
  const auto it = compiled_.memory.buffers.find(name);
  CHECK(it != compiled_.memory.buffers.end()) << "the program has no buffer " << name;
  CHECK(bytes < 0 || bytes == it->second.bytes) << name << " holds " << it->second.bytes << " bytes, not " << bytes;
  CHECK(slot >= 0 && slot < it->second.slots)
      << name << " has " << it->second.slots << " slots, there is no slot " << slot;
  return it->second;
}

void Program::upload(const std::string& name, const void* host, int64_t bytes, int slot) {
  const NamedBuffer& b = buffer(name, bytes, slot);
  device_.copy_in(Stream::kCompute, arena_ + b.offset + slot * b.slot_stride(), host, static_cast<size_t>(bytes));
}

void Program::download(const std::string& name, void* host, int64_t bytes, int slot) {
  const NamedBuffer& b = buffer(name, bytes, slot);
  device_.copy_out(Stream::kCompute, host, arena_ + b.offset + slot * b.slot_stride(), static_cast<size_t>(bytes));
  device_.synchronize();
}

void* Program::host_pointer(const std::string& name, int slot) {
  const NamedBuffer& b = buffer(name, -1, slot);
  return arena_ + b.offset + slot * b.slot_stride();
}

TensorRef Program::output(const std::string& graph, const std::string& name) {
  const int g = index_of(graph);
  const auto& outputs = compiled_.graphs[g].graph.outputs();
  const auto it = outputs.find(name);
  CHECK(it != outputs.end()) << "graph " << graph << " has no output " << name;
  return refs(g, {it->second}, 0)[0];
}

}  // namespace shardit

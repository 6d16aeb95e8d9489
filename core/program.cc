#include "core/program.h"

#include <omp.h>

#include <set>

#include <glog/logging.h>
#include "core/error.h"
#include "core/nvtx_range.h"
#include "core/op_card.h"
#include "core/verify.h"

namespace shardit {

namespace {

std::string full_name(const Node& node) { return node.label + " (" + node.card->name + ")"; }

// What the device says of a node, with the node's name.
template <typename Work> void naming(const Node& node, Work&& work) {
  try {
    work();
  } catch (const DeviceError& error) {
    throw DeviceError(full_name(node) + ": " + error.what());
  }
}

// A window of other values is only another name for their bytes: it needs no kernel.
void require_device_kernels(const Graph& graph) {
  for (int n = 0; n < graph.node_count(); ++n) {
    const Node& node = graph.node(n);
    if (!node.card->cuda && touches_memory(graph, node))
      throw DeviceError(full_name(node) + " has no kernel for GPUs in this build; use device=cpu");
  }
}

}  // namespace

CompiledProgram compile(std::vector<NamedGraph> graphs, const Target& target) {
  omp_set_num_threads(1);  // kernels are prepared, and their scratch planned, for single-threaded library calls
  CompiledProgram result{.target = target, .graphs = std::move(graphs)};
  std::vector<ScheduledGraph> scheduled;
  for (const NamedGraph& g : result.graphs) {
    verify(g.graph, g.name);
    if (target.kernels == Kernels::kCuda) require_device_kernels(g.graph);
    result.schedules.push_back(schedule(g.graph));
  }
  for (size_t i = 0; i < result.graphs.size(); ++i)
    scheduled.push_back({&result.graphs[i].graph, &result.schedules[i]});
  result.memory = plan_memory(scheduled, target);
  return result;
}

Program::Program(CompiledProgram compiled, Device& device, Pool& pool)
    : compiled_(std::move(compiled)),
      device_(device),
      pool_(pool),
      in_use_(compiled_.memory) {
  CHECK(compiled_.target.kernels == device_.kernels()) << "compiled for another device than " << device_.name();
  CHECK((compiled_.target.copied_on_host == nullptr) == device_.host_reaches())
      << device_.name()
      << ": a program has copies on the host exactly where the host does not reach the device's memory";
  allocated_bytes_ = std::max<int64_t>(compiled_.memory.arena_bytes, kAlignment);
  arena_ = static_cast<std::byte*>(device_.allocate(static_cast<size_t>(allocated_bytes_)));
  if (compiled_.memory.host_bytes > 0)
    host_copies_ = static_cast<std::byte*>(device_.allocate_host(static_cast<size_t>(compiled_.memory.host_bytes)));
  for (size_t g = 0; g < compiled_.graphs.size(); ++g) {
    bind(static_cast<int>(g), events_);
    events_ += 1 + static_cast<int>(compiled_.schedules[g].steps.size());
  }
}

// An error of what still runs is nobody's: whoever needed it would have waited for it and have been told.
Program::~Program() {
  try {
    synchronize();
  } catch (const std::exception&) {}
  if (host_copies_) device_.release_host(host_copies_, static_cast<size_t>(compiled_.memory.host_bytes));
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

// The event that a step of the graph records, and where waiting for it is counted.
InUse::Event Program::event_of(int g, int step, int first_event) {
  const Node& node = compiled_.graphs[g].graph.node(compiled_.schedules[g].steps[step].node);
  const std::string& label = node.unit.empty() ? node.label : node.unit;
  size_t i = 0;
  while (i < waited_.size() && waited_[i].label != label) ++i;
  if (i == waited_.size()) waited_.push_back({label, 0});
  return {first_event + step, static_cast<int>(i)};
}

Program::Launch Program::bind(int g, const Node& node, const Step& step) {
  Launch launch{.node = &node, .step = &step};
  for (int slot = 0; slot < 2; ++slot) {
    launch.in[slot] = refs(g, node.in, slot);
    launch.out[slot] = refs(g, node.out, slot);
  }
  const Graph& graph = compiled_.graphs[g].graph;
  const bool cuda = compiled_.target.kernels == Kernels::kCuda;
  launch.runs = !cuda || node.card->cuda;
  if (const auto prepare = cuda ? node.card->cuda_prepare : node.card->prepare)
    naming(node, [&] { launch.prepared = prepare(types_of(graph, node)); });
  const int64_t workspace = compiled_.memory.graphs[g].workspace[step.node];
  launch.workspace = workspace < 0 ? nullptr : arena_ + workspace;
  return launch;
}

void Program::bind(int g, int first_event) {
  const Graph& graph = compiled_.graphs[g].graph;
  const Schedule& schedule = compiled_.schedules[g];
  Handover handover = find_handover(graph, schedule, compiled_.memory, g);
  const int steps = static_cast<int>(schedule.steps.size());
  BoundGraph& bound = bound_.emplace_back();
  bound.begin_event = first_event + steps;
  std::vector<bool> awaited(schedule.steps.size(), false);
  for (const Step& step : schedule.steps)
    for (int w : step.waits) awaited[w] = true;
  for (const Handover::Leaving& left : handover.leaves) {
    awaited[left.step] = true;
    bound.leaves.push_back({left, schedule.steps[left.step].stream, event_of(g, left.step, first_event)});
  }
  std::set<Stream> used;
  for (int s = 0; s < steps; ++s) {
    const Step& step = schedule.steps[s];
    const Node& node = graph.node(step.node);
    if (node.card == &input_card) continue;
    Launch& launch = bound.launches.emplace_back(bind(g, node, step));
    launch.meets = std::move(handover.meets[s]);
    if (awaited[s]) launch.event = first_event + s;
    for (int w : step.waits) launch.waits.push_back(event_of(g, w, first_event));
    used.insert(step.stream);
  }
  used.erase(Stream::kCompute);
  bound.side_streams.assign(used.begin(), used.end());
}

void Program::run(int g, int slot) {
  CHECK(slot == 0 || slot == 1) << "there is no slot " << slot;
  BoundGraph& bound = bound_[g];
  const NvtxRange range(compiled_.graphs[g].name.c_str());
  Trace::Span* run = traced() ? &trace_->add("graphs", compiled_.graphs[g].name) : nullptr;
  if (run) run->begin_ns = Trace::now_ns();
  fork(bound);
  for (const Launch& launch : bound.launches) {
    const Stream stream = launch.step->stream;
    for (const Handover::Meeting& m : launch.meets)
      in_use_.meet(m.memory, slot, stream, m.writes, [&](InUse::Event event) { wait(stream, event); });
    for (InUse::Event event : launch.waits) wait(stream, in_slot(event, slot));
    if (launch.runs) this->launch(launch, slot);
    if (launch.event >= 0) device_.record(stream, launch.event + slot * events_);
    if (observer_) {
      synchronize();
      observer_(*launch.node, launch.out[slot]);
    }
  }
  if (run) run->end_ns = Trace::now_ns();
  for (const Leaving& l : bound.leaves)
    in_use_.leave(l.left.memory, slot, l.stream, l.left.writes, in_slot(l.event, slot));
}

void Program::launch(const Launch& launch, int slot) {
  const Stream stream = launch.step->stream;
  const Node& node = *launch.node;
  const KernelArgs args{.in = launch.in[slot],
                        .out = launch.out[slot],
                        .attrs = node.attrs.get(),
                        .prepared = launch.prepared.get(),
                        .workspace = launch.workspace,
                        .pool = stream == Stream::kCompute ? &pool_ : &wire_pool_};
  const NvtxRange range(node.label.c_str());
  Trace::Span* when = traced() ? &trace_->add(name_of(stream), node.label, node.card->name) : nullptr;
  naming(node, [&] { device_.launch(stream, *node.card, args, when); });
}

// The side streams begin after what the compute stream did before.
void Program::fork(const BoundGraph& graph) {
  if (graph.side_streams.empty()) return;
  device_.record(Stream::kCompute, graph.begin_event);
  for (Stream side : graph.side_streams) device_.wait(side, graph.begin_event);
}

void Program::wait(Stream stream, InUse::Event event) {
  const int64_t begin = Trace::now_ns();
  device_.wait(stream, event.id);
  if (stream != Stream::kCompute) return;
  constexpr int64_t kVisible = 1000;
  const int64_t end = Trace::now_ns();
  Waited& waited = waited_[event.label];
  waited.ms += static_cast<double>(end - begin) * 1e-6;
  if (!traced() || end - begin < kVisible) return;
  Trace::Span& span = trace_->add(name_of(stream), "wait for " + waited.label, "exposed");
  span.begin_ns = begin;
  span.end_ns = end;
}

void Program::wait_for_users(const std::string& name, int slot, bool writes) {
  in_use_.meet(compiled_.memory.shared_index(name), slot, Stream::kCompute, writes,
               [&](InUse::Event event) { wait(Stream::kCompute, event); });
}

void Program::synchronize() {
  for (int s = 0; s < kStreams; ++s) device_.synchronize(static_cast<Stream>(s));
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
  wait_for_users(name, slot, true);
  device_.copy_in(Stream::kCompute, arena_ + b.offset + slot * b.slot_stride(), host, static_cast<size_t>(bytes));
}

void Program::download(const std::string& name, void* host, int64_t bytes, int slot) {
  const NamedBuffer& b = buffer(name, bytes, slot);
  wait_for_users(name, slot, false);
  device_.copy_out(Stream::kCompute, host, arena_ + b.offset + slot * b.slot_stride(), static_cast<size_t>(bytes));
  device_.synchronize(Stream::kCompute);
}

// Copies to and from the host's side are on the compute stream.
void* Program::host_pointer(const std::string& name, int slot) {
  const NamedBuffer& b = buffer(name, -1, slot);
  if (device_.host_reaches()) wait_for_users(name, slot, true);
  device_.synchronize(Stream::kCompute);
  if (device_.host_reaches()) return arena_ + b.offset + slot * b.slot_stride();
  CHECK(b.host_offset >= 0) << name << " has no copy on the host";
  return host_copies_ + b.host_offset + slot * b.slot_stride();
}

void Program::push(const std::string& name, int slot) {
  if (device_.host_reaches()) return;
  upload(name, host_pointer(name, slot), buffer(name, -1, slot).bytes, slot);
}

void Program::pull(const std::string& name, int slot) {
  if (device_.host_reaches()) return;
  download(name, host_pointer(name, slot), buffer(name, -1, slot).bytes, slot);
}

TensorRef Program::on_host(const TensorRef& value) {
  if (device_.host_reaches()) return value;
  fetched_.resize(static_cast<size_t>(value.type.bytes()));
  device_.copy_out(Stream::kCompute, fetched_.data(), value.data, fetched_.size());
  device_.synchronize(Stream::kCompute);
  return {fetched_.data(), value.type};
}

TensorRef Program::output(const std::string& graph, const std::string& name) {
  const int g = index_of(graph);
  const auto& outputs = compiled_.graphs[g].graph.outputs();
  const auto it = outputs.find(name);
  CHECK(it != outputs.end()) << "graph " << graph << " has no output " << name;
  synchronize();
  return refs(g, {it->second}, 0)[0];
}

}  // namespace shardit

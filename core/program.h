// A program: graphs that run over the same named buffers, compiled once, then run as often as wished.
//
//   Program program({{"micro_step", micro_step}, {"update", update}}, device, pool);
//   program.upload("batch.labels", …);  program.run("micro_step");  program.download("loss", …);
//
// All memory is one arena, allocated by the constructor after the plan is known; running allocates nothing. A run waits
// for the wire only where it needs what the wire does: the last transfers of one graph go on while the next computes.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/device.h"
#include "core/graph.h"
#include "core/handover.h"
#include "core/plan.h"
#include "core/schedule.h"

namespace shardit {

struct NamedGraph {
  std::string name;
  Graph graph;
};

// Graphs with their schedules and their memory, before anything is allocated: what `shardit plan` looks at.
struct CompiledProgram {
  Target target;
  std::vector<NamedGraph> graphs;
  std::vector<Schedule> schedules;
  MemoryPlan memory;
};
// Throws DeviceError, with label and op, where a card has no kernel for the target.
CompiledProgram compile(std::vector<NamedGraph> graphs, const Target& target);

class Program {
 public:
  // Throws DeviceError where memory is refused. REQUIRES: compiled for such a device.
  Program(CompiledProgram compiled, Device& device, Pool& pool);
  ~Program();
  Program(const Program&) = delete;

  // Runs a graph. `slot` says which copy of double-buffered inputs it reads (0 or 1).
  void run(int graph, int slot = 0);
  void run(const std::string& graph, int slot = 0) { run(index_of(graph), slot); }
  int index_of(const std::string& graph) const;
  bool has_graph(const std::string& graph) const;

  // Called after every node of a run, in order, with the node's outputs; null switches it off. It is for profiles and
  // for finding the first non-finite value: with an observer the device is synchronized after each node. Outputs lie in
  // the device's memory; on_host brings one to the host, until it brings the next.
  using Observer = std::function<void(const Node&, std::span<const TensorRef> out)>;
  void observe(Observer observer) { observer_ = std::move(observer); }
  TensorRef on_host(const TensorRef& value);

  // Records what runs when, while `trace` records; null switches it off.
  void trace(Trace* trace) { trace_ = trace; }

  // The compute threads, for other work between runs.
  Pool& pool() { return pool_; }

  // Copies between the host and a named buffer, after all that uses it; `bytes` must be the buffer's size.
  void upload(const std::string& buffer, const void* host, int64_t bytes, int slot = 0);
  void download(const std::string& buffer, void* host, int64_t bytes, int slot = 0);

  // A buffer's bytes as the host reads and writes them, after all that uses it: the buffer itself where the host
  // reaches the device's memory; elsewhere its copy in host memory, and then `push` brings what the host wrote to the
  // device, `pull` what the device made to the host. REQUIRES: the target has a copy of it there.
  void* host_pointer(const std::string& buffer, int slot = 0);
  void push(const std::string& buffer, int slot = 0);
  void pull(const std::string& buffer, int slot = 0);
  bool has_buffer(const std::string& buffer) const { return compiled_.memory.buffers.contains(buffer); }

  // Waits for all streams.
  void synchronize();

  // A value of a graph by output name, valid until another graph runs; for tests.
  TensorRef output(const std::string& graph, const std::string& name);

  // How long the compute stream has stood waiting for the wire, in all runs so far.
  struct Waited {
    std::string label;  // for what: the unit of the collective
    double ms = 0;
  };
  const std::vector<Waited>& waited() const { return waited_; }
  double waited_ms() const;

  const MemoryPlan& memory() const { return compiled_.memory; }
  int64_t allocated_bytes() const { return allocated_bytes_; }
  int graph_count() const { return static_cast<int>(compiled_.graphs.size()); }
  const Graph& graph(int i) const { return compiled_.graphs[i].graph; }

 private:
  struct Launch {
    const Node* node;
    const Step* step;
    bool runs = true;  // false: a window, for which the device needs no kernel and has none
    std::vector<Handover::Meeting> meets;
    int event = -1;                        // recorded after it, -1 where nobody waits for it
    std::vector<InUse::Event> waits;       // on steps of this graph
    std::vector<TensorRef> in[2], out[2];  // by slot
    std::unique_ptr<Prepared> prepared;
    std::byte* workspace;
  };

  struct Leaving {
    Handover::Leaving left;
    Stream stream;
    InUse::Event event;
  };
  struct BoundGraph {
    std::vector<Launch> launches;
    std::vector<Stream> side_streams;  // the streams beside the compute stream that it uses
    std::vector<Leaving> leaves;
    int begin_event = -1;
  };

  void bind(int graph, int first_event);
  Launch bind(int graph, const Node& node, const Step& step);
  InUse::Event event_of(int graph, int step, int first_event);
  std::vector<TensorRef> refs(int graph, const std::vector<int>& values, int slot);
  // Runs of the two slots have events of their own: both may be under way.
  InUse::Event in_slot(InUse::Event event, int slot) const { return {event.id + slot * events_, event.label}; }
  void fork(const BoundGraph& graph);
  void launch(const Launch& launch, int slot);
  bool traced() const { return trace_ && trace_->recording(); }
  void wait(Stream stream, InUse::Event event);
  void wait_for_users(const std::string& buffer, int slot, bool writes);
  const NamedBuffer& buffer(const std::string& name, int64_t bytes, int slot) const;

  CompiledProgram compiled_;
  Device& device_;
  Pool& pool_;
  Pool wire_pool_{1};  // kernels of the wire stream compute on their own thread, beside the compute stream
  std::byte* arena_ = nullptr;
  std::byte* host_copies_ = nullptr;  // null where the host reaches the arena
  std::vector<std::byte> fetched_;    // by on_host
  int64_t allocated_bytes_ = 0;
  std::vector<BoundGraph> bound_;  // by graph
  InUse in_use_;
  int events_ = 0;  // of a slot: one for each step of each graph, and one for each graph's begin
  std::vector<Waited> waited_;
  Observer observer_;
  Trace* trace_ = nullptr;
};

}  // namespace shardit

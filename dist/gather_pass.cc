// Parameters that are shared out among ranks come together where a graph reads them.
#include <algorithm>

#include <glog/logging.h>
#include "core/error.h"
#include "core/rebuild.h"
#include "dist/collective_ops.h"
#include "dist/sharding.h"
#include "dist/unit_reader.h"
#include "ops/ops.h"

namespace shardit {
namespace {

// A stretch of the graph during which a unit is there: forward and backward are two, unless nothing lies between.
struct Span {
  int reader = 0;
  int first = 0, last = 0;  // nodes that read it
  int64_t bytes = 0;
  int issued_after = -1;  // the gather starts when this node is over; -1: with the graph
};

int64_t gathered_bytes(const Graph& graph, const UnitReader& reader) { return graph.info(reader.whole).type.bytes(); }

// Whether some other unit is read between nodes `from` and `to`.
bool others_between(const std::vector<UnitReader>& readers, int own, int from, int to) {
  for (int r = 0; r < static_cast<int>(readers.size()); ++r)
    if (r != own &&
        std::any_of(readers[r].uses.begin(), readers[r].uses.end(), [&](int n) { return from < n && n < to; }))
      return true;
  return false;
}

// In order of first use. A unit is let go where another one is read before it is read again.
std::vector<Span> find_spans(const Graph& graph, const std::vector<UnitReader>& readers) {
  std::vector<Span> spans;
  for (int r = 0; r < static_cast<int>(readers.size()); ++r) {
    const std::vector<int>& uses = readers[r].uses;
    Span span{.reader = r, .first = uses[0], .last = uses[0], .bytes = gathered_bytes(graph, readers[r])};
    for (int n : uses) {
      const bool turns_back = graph.node(n).backward != graph.node(span.last).backward;
      if (turns_back && others_between(readers, r, span.last, n)) {
        spans.push_back(span);
        span.first = n;
      }
      span.last = n;
    }
    spans.push_back(span);
  }
  std::sort(spans.begin(), spans.end(), [](const Span& a, const Span& b) { return a.first < b.first; });
  return spans;
}

// The most bytes that are read at one time: less cannot work, however little is fetched ahead.
int64_t least_prefetch(const std::vector<Span>& spans) {
  int64_t least = 0;
  for (const Span& at : spans) {
    int64_t bytes = 0;
    for (const Span& other : spans)
      if (other.first <= at.first && at.first <= other.last) bytes += other.bytes;
    least = std::max(least, bytes);
  }
  return least;
}

// Each gather starts as early as its bytes fit beside what is in flight, in order of first use.
void issue(std::vector<Span>& spans, int node_count, int64_t prefetch_bytes) {
  const int64_t least = least_prefetch(spans);
  REQUIRE(least <= prefetch_bytes,
          "parallel.prefetch_bytes=" + std::to_string(prefetch_bytes) +
              " is too small: units that are used at one time have " + std::to_string(least) +
              " bytes\nuse at least that, and as much again to overlap gathers with computation");
  size_t next = 0;
  int64_t in_flight = 0;
  for (int n = -1; n < node_count; ++n) {
    for (const Span& span : spans)
      if (span.last == n) in_flight -= span.bytes;
    for (; next < spans.size() && in_flight + spans[next].bytes <= prefetch_bytes; ++next) {
      in_flight += spans[next].bytes;
      spans[next].issued_after = n;
    }
  }
}

// Rebuilds a graph with gathers in the place of whole units.
class Gatherer {
 public:
  Gatherer(const Graph& graph, const std::string& source, const Sharding& sharding, std::vector<UnitReader> readers)
      : graph_(graph),
        source_(source),
        sharding_(sharding),
        readers_(std::move(readers)),
        rebuild_(graph),
        shards_(readers_.size()) {}

  const std::vector<UnitReader>& readers() const { return readers_; }
  Rebuild& rebuild() { return rebuild_; }

  bool stands_for_a_unit(int node) const {
    return std::any_of(readers_.begin(), readers_.end(),
                       [&](const UnitReader& r) { return r.gone_with_the_shard(node); });
  }

  Value gather(int r) {
    const UnitReader& reader = readers_[r];
    Graph& to = rebuild_.graph();
    if (!shards_[r]) shards_[r] = shard_input(r);
    Node where = graph_.node(reader.input);
    where.label = where.unit = reader.unit->name;
    const Graph::Scope scope = to.scope_of(where, "gather ");
    Value part = shards_[r];
    if (reader.cast >= 0) part = cast(part, graph_.info(reader.whole).type.dtype);
    return all_gather(part, sharding_.mesh.shard, reader.unit->name);
  }

  // From here on nodes read the unit's parts in `whole`.
  void take_apart(int r, Value whole) {
    Rebuild::View view = rebuild_.view();
    view[readers_[r].whole] = whole.id;
    rebuild_.replace(readers_[r].whole, whole);
    for (int n : readers_[r].views) rebuild_.copy_with(n, view);
  }

 private:
  Value shard_input(int r) {
    const UnitReader& reader = readers_[r];
    const ValueInfo& whole = graph_.info(graph_.node(reader.input).out[0]);
    const InputAttrs& attrs = graph_.node(reader.input).attr<InputAttrs>();
    return input(rebuild_.graph(), source_ + "." + reader.unit->name,
                 {whole.type.dtype, {reader.unit->shard_elements(sharding_.shards())}}, whole.buffer_class, attrs.role);
  }

  const Graph& graph_;
  const std::string& source_;
  const Sharding& sharding_;
  std::vector<UnitReader> readers_;
  Rebuild rebuild_;
  std::vector<Value> shards_;  // by reader: the input, once it is there
};

}  // namespace

Graph gather_where_used(const Graph& graph, const Layout& layout, const std::string& source, const Sharding& sharding) {
  if (sharding.state_shards() == 1) return graph;
  Gatherer gatherer(graph, source, sharding, find_unit_readers(graph, layout, source));
  Rebuild& rebuild = gatherer.rebuild();
  std::vector<Span> spans = find_spans(graph, gatherer.readers());
  issue(spans, graph.node_count(), sharding.prefetch_bytes);

  std::vector<Value> whole(spans.size());
  const auto issue_after = [&](int n) {
    for (size_t s = 0; s < spans.size(); ++s) {
      if (spans[s].issued_after != n) continue;
      rebuild.graph().set_backward(n >= 0 && graph.node(n).backward);
      whole[s] = gatherer.gather(spans[s].reader);
      if (n >= 0) rebuild.graph().node(rebuild.graph().info(whole[s].id).node).after = {rebuild.node_of(n)};
    }
  };
  issue_after(-1);
  for (int n = 0; n < graph.node_count(); ++n) {
    if (gatherer.stands_for_a_unit(n)) continue;
    for (size_t s = 0; s < spans.size(); ++s)
      if (spans[s].first == n) gatherer.take_apart(spans[s].reader, whole[s]);
    rebuild.copy(n);
    issue_after(n);
  }
  return rebuild.finish();
}

Graph read_gathered(const Graph& graph, const Layout& layout, const std::string& source) {
  const std::vector<UnitReader> readers = find_unit_readers(graph, layout, source);
  Rebuild rebuild(graph);
  for (int n = 0; n < graph.node_count(); ++n) {
    const auto reader = std::find_if(readers.begin(), readers.end(), [&](const UnitReader& r) { return n == r.input; });
    if (reader == readers.end()) {
      rebuild.copy(n);
      continue;
    }
    const Value whole = input(rebuild.graph(), "full." + reader->unit->name, graph.info(reader->whole).type,
                              BufferClass::kParameters, graph.node(n).attr<InputAttrs>().role);
    rebuild.replace(reader->whole, whole);
  }
  return rebuild.finish();
}

}  // namespace shardit

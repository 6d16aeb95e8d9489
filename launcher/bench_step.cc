#include "launcher/bench_step.h"

#include <algorithm>

#include "launcher/kernel_times.h"
#include "launcher/median.h"
#include "launcher/run_data.h"
#include "launcher/run_device.h"
#include "launcher/run_setup.h"
#include "launcher/training_run.h"

namespace shardit {
namespace {

using ByCard = std::map<std::string, OpShare>;

// What the nodes of a step cost and may take at best, by card: each graph as often as the step runs it.
ByCard costs_of_step(Program& program, const RunSetup& setup, const Ceilings& ceilings) {
  ByCard ops;
  for (const std::string& name : graphs_of_step(setup)) {
    const Graph& graph = program.graph(program.index_of(name));
    for (int n = 0; n < graph.node_count(); ++n) {
      const Node& node = graph.node(n);
      if (!touches_memory(graph, node)) continue;
      const NodeTypes types = types_of(graph, node);
      const Cost cost = node.card->cost(types);
      const Floor floor = ceilings.floor(cost, type_of_products(types.in));
      OpShare& op = ops[node.card->name];
      op.beside = node.stream == Stream::kWire;
      ++op.runs;
      op.cost += cost;
      op.floor_ms += floor.ms;
      if (floor.limit == Floor::Limit::kFlops) op.flops_bound_ms += floor.ms;
    }
  }
  return ops;
}

// Milliseconds of a traced step by card.
std::map<std::string, double> times_by_card(const Trace& trace) {
  std::map<std::string, double> ms;
  for (const char* lane : {"compute", "wire", "copy"}) {
    const auto spans = trace.lanes().find(lane);
    if (spans == trace.lanes().end()) continue;
    for (const Trace::Span& span : spans->second)
      ms[span.detail] += static_cast<double>(span.end_ns - span.begin_ns) * 1e-6;
  }
  return ms;
}

// Makes steps whose ops are timed. Gives each card its time in the median of these steps, and returns that step's.
double trace_steps(TrainingRun& run, int steps, ByCard& ops) {
  std::map<double, std::map<std::string, double>> by_step_ms;
  for (int i = 0; i < steps; ++i) {
    Trace trace;
    trace.start();
    run.trace(&trace);
    const double step_ms = run.step().step_ms;
    trace.stop();
    run.program().synchronize();
    run.trace(nullptr);
    by_step_ms[step_ms] = times_by_card(trace);
  }
  const auto typical = std::next(by_step_ms.begin(), std::ssize(by_step_ms) / 2);
  for (auto& [card, op] : ops) op.ms = typical->second[card];
  return typical->first;
}

// The lowest of what all ranks measure at once: a rank's share of what they share.
Ceilings measure_together(Ranks& ranks, Device& device, int threads, bool tf32) {
  ranks.any("ceilings", false);
  const Ceilings mine = measure_ceilings(device, threads, tf32);
  const auto lowest = [&](double x) {
    const std::vector<double> all = ranks.all("ceilings", x);
    return *std::min_element(all.begin(), all.end());
  };
  Ceilings least{.tf32 = tf32,
                 .fp32_flops_per_s = lowest(mine.fp32_flops_per_s),
                 .bf16_flops_per_s = lowest(mine.bf16_flops_per_s)};
  for (const Ceilings::Copy& copy : mine.copies) least.copies.push_back({copy.bytes, lowest(copy.bytes_per_s)});
  return least;
}

// What a run would refuse, before anything is measured.
void check_start(const RunConfig& config, Ranks& ranks) {
  ranks.together("start", [&] {
    make_setup(config, plan_mesh(ranks.size(), ranks.rank(), static_cast<int>(config.parallel().replicate_group())));
    open_training_data(config);
  });
}

std::unique_ptr<Device> device_of_run(const RunConfig& config, Ranks& ranks) {
  return open_device(RunConfig::Device_Name(config.device()), ranks).device;
}

}  // namespace

double StepBench::floor_ms() const {
  double sum = 0;
  for (const OpShare& op : ops)
    if (!op.beside) sum += op.floor_ms;
  return sum;
}

StepBench measure_step(const RunConfig& config, const StepBenchOptions& options, World& world) {
  Ranks ranks(world);
  check_start(config, ranks);
  StepBench bench{.ranks = ranks.size(), .threads = options.threads, .images = config.global_batch_size()};
  bench.ceilings = measure_together(ranks, *device_of_run(config, ranks), options.threads, multiplies_in_tf32(config));

  TrainingRunOptions as_in_a_run{.device = device_of_run(config, ranks), .threads = options.threads};
  const Target target = target_of(*as_in_a_run.device, options.threads);
  ranks.together("set-up", [&] { as_in_a_run.graphs = run_program_options(config, make_setup(config), target); });
  TrainingRun run(config, world, std::move(as_in_a_run));
  std::vector<double> step_ms, exposed_ms;
  for (int i = 0; i < options.steps; ++i) {
    const StepTime time = run.step();
    step_ms.push_back(time.step_ms);
    exposed_ms.push_back(time.exposed_ms);
  }
  bench.step_ms = median(step_ms);
  bench.exposed_ms = median(exposed_ms);
  ByCard ops = costs_of_step(run.program(), run.setup(), bench.ceilings);
  bench.traced_ms = trace_steps(run, options.traced, ops);
  for (auto& [card, op] : ops) bench.ops.emplace_back(op).card = card;
  std::stable_sort(bench.ops.begin(), bench.ops.end(), [](const OpShare& a, const OpShare& b) { return a.ms > b.ms; });

  const DType products = run.setup().precision.compute;
  const double stated = stated_bf16_flops(run.device().model());
  const double peak = stated > 0 && products == DType::kBF16 ? stated : bench.ceilings.flops_per_s(products);
  bench.device = full_name(run.device());
  bench.products = run.products().note;
  bench.parameters = run.setup().layout.parameters();
  bench.plan_bytes = run.program().memory().arena_bytes;
  bench.model_flops = 3 * forward_matmul_flops(run.setup()) * static_cast<double>(bench.images);
  bench.peak_flops = peak * ranks.size();
  return bench;
}

Json to_json(const StepBench& bench) {
  return {{"images_per_s", bench.images_per_s()},
          {"step_ms", bench.step_ms},
          {"mfu", bench.mfu()},
          {"fraction_of_ceiling", bench.fraction_of_ceiling()},
          {"parameters", bench.parameters},
          {"plan_bytes", bench.plan_bytes}};
}

}  // namespace shardit

#include "launcher/predict.h"

#include <algorithm>

#include "core/simulate.h"
#include "dist/collective_ops.h"
#include "launcher/run_program.h"
#include "launcher/run_setup.h"

namespace shardit {
namespace {

double duration_ms(const Graph& graph, const Node& node, const Measured& measured) {
  if (node.card == &input_card) return 0;
  const int ranks = ranks_of_collective(node);
  if (ranks == 1) return measured.kernels.ms(graph, node);
  return measured.link.us(ranks - 1, node.card->cost(types_of(graph, node)).wire_bytes) * 1e-3;
}

Timeline walk(const Graph& graph, const Schedule& schedule, const Measured& measured) {
  std::vector<double> ms;
  for (const Step& step : schedule.steps) ms.push_back(duration_ms(graph, graph.node(step.node), measured));
  return simulate(graph, schedule, ms, Issue::kComputing);
}

// How often a step runs a graph.
int64_t runs_in_a_step(const std::string& graph, const CompiledProgram& program, int64_t rounds) {
  const bool has_first = std::any_of(program.graphs.begin(), program.graphs.end(),
                                     [](const NamedGraph& g) { return g.name == "micro_step.first"; });
  if (graph == "micro_step.first" || graph == "update") return 1;
  return graph == "micro_step" ? rounds - (has_first ? 1 : 0) : 0;
}

}  // namespace

double PredictedStep::total_exposed_ms() const {
  double sum = 0;
  for (const auto& [unit, ms] : exposed_ms) sum += ms;
  return sum;
}

PredictedStep predict_step(const RunConfig& config, int ranks, const Measured& measured, int threads) {
  const auto replicas = static_cast<int>(config.parallel().replicate_group());
  const RunSetup setup = make_setup(config, plan_mesh(ranks, 0, replicas));
  const CompiledProgram program = compile_run(setup, {}, threads);
  PredictedStep step{.ms = measured.between_ms * static_cast<double>(setup.rounds())};
  for (size_t g = 0; g < program.graphs.size(); ++g) {
    const auto runs = static_cast<double>(runs_in_a_step(program.graphs[g].name, program, setup.rounds()));
    if (runs == 0) continue;
    const Timeline timeline = walk(program.graphs[g].graph, program.schedules[g], measured);
    step.ms += runs * timeline.ms;
    for (const auto& [unit, ms] : timeline.exposed_ms) step.exposed_ms[unit] += runs * ms;
  }
  return step;
}

}  // namespace shardit

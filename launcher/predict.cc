#include "launcher/predict.h"

#include <algorithm>

#include "dist/collective_ops.h"
#include "launcher/run_program.h"

namespace shardit {
namespace {

// A graph of the program with what it takes to walk it.
class Walked {
 public:
  Walked(const CompiledProgram& program, size_t index, const Pace& pace)
      : graph_(program.graphs[index].graph),
        schedule_(program.schedules[index]),
        handover_(find_handover(graph_, schedule_, program.memory, static_cast<int>(index))) {
    for (const Step& step : schedule_.steps) ms_.push_back(pace.node_ms(graph_, graph_.node(step.node)));
  }
  void run(Simulation& simulation, int slot) const { simulation.run(graph_, schedule_, handover_, ms_, slot); }

 private:
  const Graph& graph_;
  const Schedule& schedule_;
  Handover handover_;
  std::vector<double> ms_;
};

// The graphs of a step, one after another, with what the host does between them.
class WalkedStep {
 public:
  WalkedStep(const CompiledProgram& program, const RunSetup& setup, const Pace& pace)
      : order_(graphs_of_step(setup)),
        between_ms_(pace.between_ms),
        loss_(program.memory.shared_index("step.loss")) {
    for (size_t g = 0; g < program.graphs.size(); ++g)
      if (std::find(order_.begin(), order_.end(), program.graphs[g].name) != order_.end())
        graphs_.emplace(program.graphs[g].name, Walked(program, g, pace));
  }

  void run(Simulation& simulation) const {
    const int rounds = static_cast<int>(order_.size()) - 1;
    for (int round = 0; round < rounds; ++round) {
      simulation.host(between_ms_);
      graphs_.at(order_[round]).run(simulation, round % 2);
      simulation.host_reads(loss_);
    }
    graphs_.at(order_.back()).run(simulation, 0);
  }

 private:
  std::vector<std::string> order_;
  double between_ms_;
  int loss_;  // the memory that the host reads after each round
  std::map<std::string, Walked> graphs_;
};

}  // namespace

double PredictedStep::total_exposed_ms() const {
  double sum = 0;
  for (const auto& [unit, ms] : exposed_ms) sum += ms;
  return sum;
}

Pace pace_of(const Measured& measured) {
  return {.node_ms =
              [&measured](const Graph& graph, const Node& node) {
                if (node.card == &input_card) return 0.0;
                const auto collective = collective_of(node);
                if (!collective) return measured.kernels.ms(graph, node);
                return measured.link.us(collective->ranks - 1, node.card->cost(types_of(graph, node)).wire_bytes) *
                       1e-3;
              },
          .between_ms = measured.between_ms,
          .issue = Issue::kComputing};
}

PredictedStep predict_step(const CompiledProgram& program, const RunSetup& setup, const Pace& pace) {
  const WalkedStep step(program, setup, pace);
  Simulation simulation(program.memory, pace.issue);
  step.run(simulation);  // the first begins with nothing under way
  const double begin_ms = simulation.ms(Stream::kCompute);
  const auto exposed_before = simulation.exposed_ms();
  step.run(simulation);
  PredictedStep predicted{.ms = simulation.ms(Stream::kCompute) - begin_ms};
  for (const auto& [unit, ms] : simulation.exposed_ms()) {
    const auto before = exposed_before.find(unit);
    predicted.exposed_ms[unit] = ms - (before == exposed_before.end() ? 0 : before->second);
  }
  return predicted;
}

PredictedStep predict_step(const RunConfig& config, int ranks, const Measured& measured, int threads) {
  const auto replicas = static_cast<int>(config.parallel().replicate_group());
  RunSetup setup = make_setup(config, plan_mesh(ranks, 0, replicas));
  setup.precision.tf32 = false;  // its graphs and their memory are fp32's
  return predict_step(compile_run(setup, {}, threads), setup, pace_of(measured));
}

}  // namespace shardit

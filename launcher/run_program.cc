#include "launcher/run_program.h"

#include <map>
#include <set>

#include "core/error.h"
#include "core/op_card.h"
#include "launcher/state.h"

namespace shardit {
namespace {

const char* name_of(SamplerStage stage) {
  switch (stage) {
    case SamplerStage::kMove:
      return "move";
    case SamplerStage::kPredict:
      return "predict";
    case SamplerStage::kCorrect:
      return "correct";
    case SamplerStage::kMultistep:
      return "multistep";
  }
  return "";
}

// This rank's shard of every state buffer copied to staging.
Graph build_snapshot(const RunSetup& setup) {
  Graph graph;
  const Sharding& sharding = setup.sharding;
  for (const StateKind& kind : state_kinds(setup))
    for (const Unit& unit : setup.layout.units) {
      const std::string name = unit_buffer(kind.source, unit);
      const auto scope = graph.scope("snapshot " + name);
      const BufferClass buffer_class = kind.name == "params"          ? BufferClass::kParameters
                                       : kind.name.starts_with("ema") ? BufferClass::kEma
                                                                      : BufferClass::kOptimizer;
      Value held = input(graph, name, setup.state_type(unit), buffer_class);
      const int64_t shard = unit.shard_elements(sharding.shards());
      if (held.shape()[0] != shard) held = slice_first(held, sharding.mesh.shard.rank * shard, shard);
      graph.keep(copy(held), "snapshot." + name, BufferClass::kStaging);
    }
  return graph;
}

bool adds_noise(const SamplingPlan& plan) {
  for (const SamplerStep& step : plan.steps.steps)
    if (step.noise_bounds[2] != 0) return true;
  return false;
}

}  // namespace

std::vector<std::string> graphs_of_step(const RunSetup& setup) {
  std::vector<std::string> names(static_cast<size_t>(setup.rounds()), "micro_step");
  if (last_round_differs(setup.sharding, setup.reduction(true))) names.back() = "micro_step.last";
  names.push_back("update");
  return names;
}

double wire_bytes_per_step(const CompiledProgram& program, const RunSetup& setup) {
  std::map<std::string, double> bytes;  // of one run of each graph
  for (const NamedGraph& g : program.graphs)
    for (int n = 0; n < g.graph.node_count(); ++n)
      bytes[g.name] += g.graph.node(n).card->cost(types_of(g.graph, g.graph.node(n))).wire_bytes;
  double sum = 0;
  for (const std::string& graph : graphs_of_step(setup)) sum += bytes.at(graph);
  return sum;
}

void refresh_weights(Program& program) {
  for (const char* graph : {"refresh", "gather"})
    if (program.has_graph(graph)) program.run(graph);
}

std::string stage_graph(SamplerStage stage) { return std::string("sample.") + name_of(stage); }

CompiledProgram compile_run(const RunSetup& setup, const RunProgramOptions& o, const Target& target) {
  REQUIRE(!setup.precision.tf32 || target.kernels == Kernels::kCuda,
          "precision.compute=tf32: products by way of TF32 are a GPU's, and this run computes on the CPU\n"
          "use device=cuda, or precision.compute=fp32 or bf16");
  Graph constants;
  std::vector<NamedGraph> graphs;
  const auto add_forward = [&](const std::string& name, const Graph& graph, const std::string& source) {
    graphs.push_back({name, shard_forward(lower(graph, setup, constants), setup, source)});
  };
  if (o.training) {
    const Graph micro_step = lower(build_micro_step(setup, o.loss_inputs, nullptr), setup, constants);
    const bool differs = last_round_differs(setup.sharding, setup.reduction(true));
    if (!differs || setup.rounds() > 1)
      graphs.push_back({"micro_step", shard_micro_step(micro_step, setup, Round::kEarlier)});
    if (differs) graphs.push_back({"micro_step.last", shard_micro_step(micro_step, setup, Round::kLast)});
    graphs.push_back({"update", lower(build_update(setup), setup, constants)});
    if (setup.sharding.gathers_updates()) graphs.push_back({"gather", build_gather(setup)});
  }
  if (o.resume_proof)
    graphs.push_back({"resume_proof", shard_resume_proof(lower(build_resume_proof(setup), setup, constants), setup)});
  if (o.snapshot) graphs.push_back({"snapshot", build_snapshot(setup)});
  if (!setup.travels_in_fp32()) graphs.push_back({"refresh", build_refresh(setup)});
  if (o.validation_batch) add_forward("validation", build_validation(setup, *o.validation_batch), setup.weights());
  if (o.sampling) {
    std::set<SamplerStage> stages;
    for (const SamplerStep& step : o.sampling_plan.steps.steps) stages.insert(step.stage);
    for (SamplerStage stage : stages)
      add_forward(
          stage_graph(stage),
          build_sampling(setup, *o.sampling, stage, stage == SamplerStage::kMove && adds_noise(o.sampling_plan)),
          o.sampling->weights);
  }
  graphs.insert(graphs.begin(), {"constants", constants});
  return compile(std::move(graphs), target);
}

RunProgramOptions run_program_options(const RunConfig& config, const RunSetup& setup, const Target& target) {
  RunProgramOptions options{.resume_proof = true,
                            .snapshot = config.checkpoint().async() && !target.copied_on_host,
                            .sampling_plan = make_sampling_plan(config)};
  if (config.validation().every_steps() > 0) options.validation_batch = config.micro_batch_size();
  if (config.sample().every_steps() > 0) options.sampling = make_sampling_setup(config, setup, options.sampling_plan);
  return options;
}

CompiledProgram compile_state(const RunSetup& setup) {
  Graph graph;
  for (const StateKind& kind : state_kinds(setup))
    for (const Unit& unit : setup.layout.units)
      input(graph, unit_buffer(kind.source, unit), setup.state_type(unit), BufferClass::kParameters);
  return compile({{"state", graph}}, 1);
}

std::string dump_graph(const RunSetup& setup, const std::string& wanted, const Target& target) {
  std::string text, stages;
  const PassObserver observer = [&](const std::string& stage, const Graph& graph) {
    stages += (stages.empty() ? "" : ", ") + stage;
    if (stage == wanted) text = graph.dump();
  };
  Graph constants;
  const Graph lowered = lower(build_micro_step(setup, keyed_loss_inputs, observer), setup, constants, observer);
  const Graph micro_step = shard_micro_step(lowered, setup, Round::kLast);
  observer("shard", micro_step);
  if (wanted == "update") text = lower(build_update(setup), setup, constants).dump();
  if (wanted == "plan") text = describe_plan(micro_step, schedule(micro_step), target);
  REQUIRE(!text.empty(),
          "--dump-graph: there is no stage '" + wanted + "': expected one of " + stages + ", plan, update");
  return text;
}

double forward_matmul_flops(const RunSetup& setup) {
  const Graph graph = build_validation(setup, 1);
  double flops = 0;
  for (int n = 0; n < graph.node_count(); ++n)
    flops += graph.node(n).card->cost(types_of(graph, graph.node(n))).matmul_flops;
  return flops;
}

}  // namespace shardit

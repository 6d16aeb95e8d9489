#include "launcher/golden_run.h"

#include <algorithm>
#include <cmath>

#include "launcher/run_device.h"
#include "launcher/run_program.h"
#include "launcher/state.h"
#include "model/guidance.h"
#include "ops/product_choices.h"

namespace shardit {
namespace {

// The model and its training step as the metadata states them: one micro-batch, one EMA named "ema".
RunSetup setup_of(const Golden& golden, const Precision& precision) {
  RunSetup s{
      .model = golden.model(), .precision = precision, .global_batch = golden.batch(), .micro_batch = golden.batch()};
  s.layout = diffit_layout(s.model);
  s.process = make_ddpm({.channels = s.model.in_channels, .learn_sigma = s.model.learn_sigma});
  const std::vector<double> betas = golden.numbers("betas");
  if (betas.size() != 2) golden.refuse("metadata 'betas' is not two numbers");
  s.adamw.beta1 = betas[0];
  s.adamw.beta2 = betas[1];
  s.adamw.eps = golden.number("eps");
  s.adamw.weight_decay = golden.number("weight_decay");
  s.ema_names = {"ema"};
  return s;
}

// The position table and the relative position indices, where the file has them: the program computes its own.
void check_constants(const Golden& golden) {
  const DiffitConfig model = golden.model();
  const auto near = [](float a, float b) { return std::fabs(a - b) <= 1e-6f; };
  std::vector<int64_t> index;
  for (const ReleasedConstant& c : released_constants(model)) {
    const std::string name = "param." + c.name;
    if (!golden.has(name)) continue;
    const bool integers = c.dtype == DType::kI64;
    if (integers && index.empty()) index = relative_position_index(model);
    if (integers ? golden.integers(name) != index
                 : !std::ranges::equal(golden.real(name), position_embedding(model), near))
      golden.refuse("tensor " + name + " is not what its configuration gives");
  }
}

}  // namespace

GoldenRun::GoldenRun(const Golden& golden, const Precision& precision, Device& device, int threads)
    : golden_(golden),
      setup_(setup_of(golden, precision)),
      pool_(threads),
      device_(device) {
  check_constants(golden);
}

Program& GoldenRun::start(std::vector<NamedGraph> graphs) {
  Graph constants;
  for (NamedGraph& g : graphs) g.graph = lower(g.graph, setup_, constants);
  return start(std::move(graphs), constants);
}

Program& GoldenRun::start(std::vector<NamedGraph> graphs, const Graph& constants) {
  graphs.push_back({"constants", constants});
  if (!setup_.travels_in_fp32()) graphs.push_back({"refresh", build_refresh(setup_)});
  const ProductsToldBy way(nullptr, setup_.precision.tf32);
  program_.emplace(compile(std::move(graphs), target_of(device_, pool_.threads())), device_, pool_);
  program_->run("constants");
  for (const std::string source : {"master", "ema.ema"}) {
    if (!program_->has_buffer(unit_buffer(source, setup_.layout.units[0]))) continue;
    for (const StateTensor& t : tensors_of(*program_, setup_, {"param", source})) {
      const std::vector<float> values = golden_.real("param." + t.name.substr(6));
      std::copy(values.begin(), values.end(), static_cast<float*>(t.data));
    }
    push_state(*program_, setup_, {"param", source});
  }
  refresh_weights(*program_);
  return *program_;
}

int64_t GoldenRun::guided_channels() const { return std::min<int64_t>(3, setup_.model.in_channels); }

double GoldenRun::guidance_at(double t) const {
  const auto schedule = setup_.model.input_size <= 32 ? GuidanceSchedule::kPowerCosine : GuidanceSchedule::kConstant;
  return guidance_scale(schedule, golden_.number("cfg_scale"), 4, t / static_cast<double>(kGoldenTimesteps));
}

Value image_input(Graph& graph, const DiffitConfig& model, const std::string& name, int64_t batch) {
  const int64_t S = model.input_size;
  return input(graph, name, {DType::kF32, {batch, S, S, model.in_channels}}, BufferClass::kStaging, Role::kExact);
}

Value integer_input(Graph& graph, const std::string& name, int64_t batch) {
  return input(graph, name, {DType::kI64, {batch}}, BufferClass::kStaging);
}

Network network_of(Graph& graph, const RunSetup& setup) {
  return [weights = Parameters(graph, setup.layout, setup.weights()), &setup](Value x, Value t, Value y) {
    return diffit(weights, setup.model, x, t, y);
  };
}

}  // namespace shardit

#include <algorithm>
#include <cmath>

#include "launcher/parity_error.h"
#include "launcher/parity_sections.h"
#include "launcher/state.h"

namespace shardit {
namespace {

LossInputs given_inputs(Graph& graph, const RunSetup& s) {
  return {.x0 = image_input(graph, s.model, "golden.x0", s.micro_batch),
          .y = integer_input(graph, "golden.y", s.micro_batch),
          .time = integer_input(graph, "golden.t", s.micro_batch),
          .noise = image_input(graph, s.model, "golden.noise", s.micro_batch)};
}

// The loss per image and, where it has two terms, each of them.
Graph loss_terms(const RunSetup& setup) {
  Graph graph;
  const LossInputs in = given_inputs(graph, setup);
  const Loss loss = setup.process->loss(network_of(graph, setup), in.x0, in.time, in.noise, in.y);
  graph.keep(loss.per_image, "terms.loss");
  if (loss.variational) {
    graph.keep(loss.mse, "terms.mse");
    graph.keep(loss.variational, "terms.vb");
  }
  return graph;
}

Program& start_training(GoldenRun& run) {
  const RunSetup& setup = run.setup();
  Graph constants;
  std::vector<NamedGraph> graphs = {
      {"micro_step",
       shard_micro_step(lower(build_micro_step(setup, given_inputs, nullptr), setup, constants), setup, Round::kLast)},
      {"update", lower(build_update(setup), setup, constants)},
      {"terms", lower(loss_terms(setup), setup, constants)}};
  return run.start(std::move(graphs), constants);
}

double terms_error(const GoldenRun& run, Program& program) {
  program.run("terms");
  double error = 0;
  for (const std::string name : {"loss", "mse", "vb"})
    if (run.golden().has("train.step0." + name) && program.has_buffer("terms." + name))
      error = std::max(error, relative_error(get(program, "terms." + name, run.setup().micro_batch),
                                             run.golden().real("train.step0." + name)));
  return error;
}

double largest(const std::vector<float>& x) {
  double m = 0;
  for (float v : x) m = std::max(m, std::fabs(static_cast<double>(v)));
  return m;
}

// Each tensor against its own largest gradient; tensors that are next to nothing beside the rest, against 1e-3 of the
// largest of all.
double gradient_error(const GoldenRun& run, Program& program) {
  const Golden& golden = run.golden();
  double most = 0, error = 0;
  for (const Unit& unit : run.setup().layout.units)
    for (const Param& p : unit.params) most = std::max(most, largest(golden.real("grad." + p.name)));
  for (const Unit& unit : run.setup().layout.units) {
    const std::vector<float> gradient = get(program, unit_buffer("grad", unit), unit.elements());
    for (const Param& p : unit.params) {
      const auto begin = gradient.begin() + p.offset();
      error = std::max(error, relative_error(std::vector<float>(begin, begin + p.numel()),
                                             golden.real("grad." + p.name), 1e-3 * most));
    }
  }
  return error;
}

// Of the gradient's norm, which `update` computes.
double norm_error(const GoldenRun& run, Program& program) {
  const double norm = get<double>(program, "step.norm", 3)[0];
  return relative_error({static_cast<float>(norm)}, run.golden().real("train.step0.grad_norm"));
}

void update(const GoldenRun& run, Program& program, int64_t step) {
  const Golden& golden = run.golden();
  const AdamWAttrs& adamw = run.setup().adamw;
  const double t = static_cast<double>(step + 1);
  set(program, "step.numbers",
      std::vector<double>{golden.number("lr"), 1 - std::pow(adamw.beta1, t), 1 - std::pow(adamw.beta2, t),
                          golden.number("ema_decay")});
  program.run("update");
}

// Root mean square of our error over that of the reference's change since the start, without the rows whose gradient
// is rounding noise: the key part of the biases and of the time projection (they cannot change the softmax).
double change_error(const GoldenRun& run, Program& program, const StateKind& kind, const std::string& prefix) {
  const Golden& golden = run.golden();
  if (!golden.has(prefix + "final_layer.linear.weight")) return 0;
  double error = 0, change = 0;
  pull_state(program, run.setup(), kind);
  for (const StateTensor& t : tensors_of(program, run.setup(), kind)) {
    const std::string name = t.name.substr(kind.name.size() + 1);
    const std::vector<float> reference = golden.real(prefix + name), before = golden.real("param." + name);
    const auto* ours = static_cast<const float*>(t.data);
    const bool noise =
        name.ends_with("qkv_temb.weight") || name.ends_with("qkv_temb.bias") || name.ends_with("qkv.bias");
    const int64_t third = t.shape.numel() / 3;
    for (int64_t i = 0; i < t.shape.numel(); ++i) {
      if (noise && i / third == 1) continue;
      error += std::pow(static_cast<double>(ours[i]) - static_cast<double>(reference[i]), 2);
      change += std::pow(static_cast<double>(reference[i]) - static_cast<double>(before[i]), 2);
    }
  }
  return std::isnan(error) ? INFINITY : std::sqrt(error / change);
}

}  // namespace

TrainingErrors training_errors(GoldenRun& run) {
  const Golden& golden = run.golden();
  Program& program = start_training(run);
  const int64_t steps = golden.shape("train.x0")[0];
  const std::vector<float> x0 = golden.images("train.x0"), noise = golden.images("train.noise"),
                           losses = golden.real("train.loss");
  const std::vector<int64_t> t = golden.integers("train.t"), y = golden.integers("train.y");
  TrainingErrors errors;
  for (int64_t step = 0; step < steps; ++step) {
    set(program, "golden.x0", part(x0, step, steps));
    set(program, "golden.noise", part(noise, step, steps));
    set(program, "golden.t", part(t, step, steps));
    set(program, "golden.y", part(y, step, steps));
    if (step == 0) errors.loss = terms_error(run, program);
    program.run("micro_step");
    errors.loss = std::max(errors.loss, relative_error(get(program, "step.loss", 1), {losses[step]}));
    if (step == 0 && golden.has("grad.final_layer.linear.weight")) errors.gradient = gradient_error(run, program);
    update(run, program, step);
    if (step == 0 && golden.has("train.step0.grad_norm"))
      errors.gradient = std::max(errors.gradient, norm_error(run, program));
  }
  errors.after = change_error(run, program, {"params", "master"}, "after.");
  errors.ema = change_error(run, program, {"ema.ema", "ema.ema"}, "ema.");
  return errors;
}

}  // namespace shardit

#include "launcher/graphs.h"

#include "core/verify.h"
#include "dist/collective_ops.h"
#include "model/guidance.h"
#include "ops/differentiate.h"
#include "ops/fuse.h"

namespace shardit {
namespace {

Type images_of(const RunSetup& s, DType dtype, int64_t batch) {
  return {dtype, {batch, s.model.input_size, s.model.input_size, s.model.in_channels}};
}

Network network_of(const Parameters& weights, const RunSetup& setup) {
  return [&weights, &setup](Value x, Value t, Value y) { return diffit(weights, setup.model, x, t, y); };
}

// First sample number of the step, and the micro-batch within it.
Value counters_input(Graph& graph) {
  return input(graph, "step.counters", {DType::kI64, {2}}, BufferClass::kStaging, Role::kFixed, 2);
}

void keep_gathered(Value shard, const Unit& unit, const Group& group) {
  shard.graph->keep(all_gather(shard, group, unit.name), "full." + unit.name, BufferClass::kParameters);
}

}  // namespace

LossInputs keyed_loss_inputs(Graph& graph, const RunSetup& s) {
  const Value pixels =
      input(graph, "batch.pixels", images_of(s, DType::kU8, s.micro_batch), BufferClass::kStaging, Role::kFixed, 2);
  const Value labels =
      input(graph, "batch.labels", {DType::kI64, {s.micro_batch}}, BufferClass::kStaging, Role::kFixed, 2);
  const auto scope = graph.scope("batch");
  const Value ids = sample_ids(counters_input(graph), s.micro_batch);
  const Shape per_image = pixels.shape().without(0);
  return {.x0 = image_to_real(pixels),
          .y = drop_labels(labels, ids, s.label_dropout, s.model.num_classes, s.seed),
          .time = s.process->draw_time(ids, s.seed),
          .noise = draw_normal(ids, per_image, s.seed, Purpose::kNoise)};
}

namespace {

// A micro-batch's share of the loss of its step, which is a mean over the global batch.
Value share_of_loss(Graph& graph, const RunSetup& s, const LossInputs& in, const Parameters& weights) {
  const Loss loss = s.process->loss(network_of(weights, s), in.x0, in.time, in.noise, in.y);
  const Graph::Scope scope = graph.scope("loss");
  return weighted_sum(loss.per_image, 1 / static_cast<double>(s.global_batch));
}

}  // namespace

Graph build_micro_step(const RunSetup& s, const LossInputsOf& inputs, const PassObserver& observer) {
  Graph graph;
  const LossInputs in = inputs(graph, s);
  const Parameters weights(graph, s.layout, s.weights());
  const Value total = share_of_loss(graph, s, in, weights);
  const Graph::Scope loss_scope = graph.scope("loss");
  graph.keep(total, "step.loss");
  verify(graph, "build");
  if (observer) observer("build", graph);

  const std::vector<Value> gradients = differentiate(graph, total, weights.units());
  for (size_t u = 0; u < gradients.size(); ++u) graph.name_output(gradients[u], "grad." + s.layout.units[u].name);
  verify(graph, "differentiate");
  if (observer) observer("differentiate", graph);
  return graph;
}

Graph build_resume_proof(const RunSetup& s) {
  Graph graph;
  const LossInputs in = keyed_loss_inputs(graph, s);
  const Parameters weights(graph, s.layout, s.weights());
  graph.keep(share_of_loss(graph, s, in, weights), "resume_proof.loss");
  return graph;
}

Graph build_update(const RunSetup& s) {
  Graph graph;
  const Group& group = s.sharding.mesh.shard;
  std::vector<Value> gradients, limbs;
  for (const Unit& unit : s.layout.units) {
    const Graph::Scope scope = graph.scope("norm " + unit.name);
    gradients.push_back(input(graph, "grad." + unit.name, {DType::kF32, {unit.shard_elements(s.sharding.shards())}},
                              BufferClass::kGradients));
    limbs.push_back(square_sum(gradients.back()));
  }
  const Value numbers = input(graph, "step.numbers", {DType::kF64, {3 + static_cast<int64_t>(s.ema_names.size())}},
                              BufferClass::kStaging);
  const std::vector<Value> norms = gradient_norm(all_gather(concat_last(limbs), group, "norm"),
                                                 static_cast<int64_t>(s.layout.units.size()), s.grad_clip);
  const Value norm = norms[0];
  graph.keep(norm, "step.norm");
  graph.keep(norms[1], "step.unit_norms");
  AdamWAttrs attrs = s.adamw;
  attrs.emas = static_cast<int>(s.ema_names.size());
  for (size_t u = 0; u < s.layout.units.size(); ++u) {
    const Unit& unit = s.layout.units[u];
    const Graph::Scope scope = graph.scope("update " + unit.name);
    const auto held = [&](const std::string& kind, BufferClass buffer_class) {
      return input(graph, kind + "." + unit.name, s.state_type(unit), buffer_class);
    };
    AdamWState state{.master = held("master", BufferClass::kParameters),
                     .m = held("adam.m", BufferClass::kOptimizer),
                     .v = held("adam.v", BufferClass::kOptimizer)};
    for (const std::string& ema : s.ema_names) state.ema.push_back(held("ema." + ema, BufferClass::kEma));
    // At stage 0 every rank updates all of it.
    const Value gradient =
        s.sharding.gathers_gradients()
            ? input(graph, "whole_grad." + unit.name, {DType::kF32, {unit.elements()}}, BufferClass::kGradients)
            : gradients[u];
    const std::vector<Value> updated = adamw(state, gradient, norm, numbers, attrs, !s.travels_in_fp32());
    if (!s.travels_in_fp32()) graph.keep(updated.back(), "param." + unit.name, BufferClass::kParameters);
    if (s.sharding.gathers_updates())
      keep_gathered(s.travels_in_fp32() ? updated.front() : updated.back(), unit, group);
  }
  return graph;
}

Graph build_gather(const RunSetup& s) {
  Graph graph;
  for (const Unit& unit : s.layout.units) {
    const Graph::Scope scope = graph.scope("gather " + unit.name);
    const Type type = {s.precision.compute, s.state_type(unit).shape};
    keep_gathered(input(graph, unit_buffer(s.weights(), unit), type, BufferClass::kParameters), unit,
                  s.sharding.mesh.shard);
  }
  return graph;
}

Graph build_refresh(const RunSetup& s) {
  Graph graph;
  for (const Unit& unit : s.layout.units) {
    const Graph::Scope scope = graph.scope("refresh " + unit.name);
    const Value master = input(graph, "master." + unit.name, s.state_type(unit), BufferClass::kParameters);
    graph.keep(cast(master, s.precision.compute), "param." + unit.name, BufferClass::kParameters);
  }
  return graph;
}

Graph build_validation(const RunSetup& s, int64_t batch) {
  Graph graph;
  const Value pixels = input(graph, "validation.pixels", images_of(s, DType::kU8, batch), BufferClass::kStaging);
  const Value labels = input(graph, "validation.labels", {DType::kI64, {batch}}, BufferClass::kStaging);
  const Value ids = input(graph, "validation.ids", {DType::kI64, {batch}}, BufferClass::kStaging);
  const Value time = input(graph, "validation.time", {s.process->time_dtype(), {batch}}, BufferClass::kStaging);
  const Parameters weights(graph, s.layout, s.weights());
  const Value noise = draw_normal(ids, pixels.shape().without(0), s.seed, Purpose::kValidation);
  const Loss loss = s.process->loss(network_of(weights, s), image_to_real(pixels), time, noise, labels);
  graph.keep(loss.per_image, "validation.losses");
  return graph;
}

Graph build_sampling(const RunSetup& s, const SamplingSetup& sampling, SamplerStage stage, bool noise) {
  Graph graph;
  const int64_t B = sampling.batch;
  const Parameters weights(graph, s.layout, sampling.weights);
  const auto state = [&](const std::string& name) {
    return input(graph, "sample." + name, images_of(s, DType::kF64, B), BufferClass::kActivations);
  };
  const auto small = [&](const std::string& name, Type type) {
    return input(graph, "sample." + name, type, BufferClass::kStaging);
  };
  SamplerState in{.x = state("x"),
                  .time = small("time", {s.process->time_dtype(), {B}}),
                  .labels = small("labels", {DType::kI64, {B}}),
                  .factors = small("factors", {DType::kF64, {kSamplerFactors}})};
  if (stage == SamplerStage::kPredict || stage == SamplerStage::kCorrect) in.trial = state("trial");
  if (stage != SamplerStage::kMove) in.denoised = state("denoised");
  if (noise) {
    if (sampling.noise_given)
      in.noise = small("noise", images_of(s, DType::kF32, B));
    else
      in.noise = draw_normal(small("noise_ids", {DType::kI64, {B}}), in.x.shape().without(0), sampling.seed,
                             Purpose::kSampling);
    in.noise_bounds = small("bounds", {DType::kF64, {3}});
  }
  Network network = network_of(weights, s);
  if (sampling.guided) {
    const Value null_labels = small("null_labels", {DType::kI64, {B}});
    network = with_guidance(network, null_labels, small("guidance", {DType::kF32, {B}}), sampling.guided_channels);
  }
  build_stage(stage, *s.process, network, in);
  return graph;
}

Graph lower(const Graph& graph, const RunSetup& s, Graph& prologue, const PassObserver& observer) {
  const auto after = [&](const std::string& pass, const Graph& g) {
    verify(g, pass);
    if (observer) observer(pass, g);
  };
  Graph g = apply_precision(prune(graph), s.precision);
  after("cast", g);
  g = recompute(g, s.recompute);
  after("recompute", g);
  g = fuse(g);
  after("fuse", g);
  g = prune(hoist_constants(g, prologue));
  after("hoist", g);
  return g;
}

namespace {

// As training reads weights: gathered unit by unit at stage 3, whole from where the update put them at 1 and 2.
Graph with_weights(const Graph& lowered, const RunSetup& s) {
  return s.sharding.gathers_updates() ? read_gathered(lowered, s.layout, s.weights())
                                      : gather_where_used(lowered, s.layout, s.weights(), s.sharding);
}

}  // namespace

Graph shard_micro_step(const Graph& lowered, const RunSetup& s, Round round) {
  const Graph g = reduce_gradients(with_weights(lowered, s), s.layout, s.sharding, s.reduction(round == Round::kLast));
  verify(g, "shard");
  return g;
}

Graph shard_resume_proof(const Graph& lowered, const RunSetup& s) {
  const Graph g = with_weights(lowered, s);
  verify(g, "shard");
  return g;
}

Graph shard_forward(const Graph& lowered, const RunSetup& s, const std::string& source) {
  const Graph g = gather_where_used(lowered, s.layout, source, s.sharding);
  verify(g, "shard");
  return g;
}

}  // namespace shardit

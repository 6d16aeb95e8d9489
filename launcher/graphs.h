// The graphs of a run: what a training step, an update, a validation batch and a sampling step compute, and the passes
// that turn the formulas into something to run. Everything is a function of a RunSetup; nothing here runs anything.
//
// Named buffers (all graphs share them):
//   batch.pixels, batch.labels   a micro-batch                      step.counters   first sample number, round (int64)
//                                both double buffered
//   master.U  param.U            weights of unit U: fp32, and as they travel where that is another type
//   adam.m.U  adam.v.U  ema.NAME.U                                  optimizer state; at stages 1 to 3 a rank's shard of
//                                it, and of the weights (dist/sharding.h)
//   full.U                       whole weights of unit U as they travel, at stages 1 and 2
//   grad.U  fold.U               the step's gradient; the open group's sum where there are several groups: shards
//   whole_grad.U  home_grad.U    the gradient of all shards, at stage 0; what a rank sums by itself, in `fastest`
//   resume_proof.loss            of micro-batch 0 on the weights of a checkpoint
//   step.loss  step.norm  step.unit_norms  step.numbers             results and scalars of a step
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/passes.h"
#include "core/program.h"
#include "dist/sharding.h"
#include "model/diffit.h"
#include "model/process.h"
#include "model/sampler.h"
#include "ops/cast.h"
#include "ops/ops.h"

namespace shardit {

// All that the graphs depend on, made from the run config (or from a golden's metadata) in one place.
struct RunSetup {
  DiffitConfig model;
  Sharding sharding;
  Layout layout;  // padded for the shards
  std::shared_ptr<const Process> process;
  Precision precision;
  Recompute recompute = Recompute::kNone;
  uint64_t seed = 0;
  int64_t global_batch = 0, micro_batch = 0;  // images
  int64_t fold_group = 8;                     // micro-batches
  bool fastest = false;                       // sums in whatever order is fastest, not in that of micro-batches
  double label_dropout = 0.1;
  double grad_clip = 0;  // 0: off
  AdamWAttrs adamw;
  std::vector<std::string> ema_names;

  int64_t micro_batches() const { return global_batch / micro_batch; }
  int64_t rounds() const { return micro_batches() / sharding.mesh.ranks(); }  // of a step: one micro-batch per rank
  // Masters, moments and EMAs of a unit on this rank.
  Type state_type(const Unit& unit) const { return {DType::kF32, {unit.shard_elements(sharding.state_shards())}}; }
  bool travels_in_fp32() const { return precision.compute == DType::kF32; }
  Reduction reduction(bool last_round) const {
    return {.micro_batches = micro_batches(),
            .fold_group = fold_group,
            .reduce = precision.reduce,
            .fastest = fastest,
            .last = last_round};
  }
  // The source of the weights as training reads them.
  std::string weights() const { return travels_in_fp32() ? "master" : "param"; }
};

// Called with each stage's name and graph: "build", "differentiate", "cast", "recompute", "fuse", "hoist".
using PassObserver = std::function<void(const std::string& stage, const Graph&)>;

// The inputs of a training loss. Training draws all but the batch from keyed generators; a golden gives them.
struct LossInputs {
  Value x0, y, time, noise;
};
using LossInputsOf = std::function<LossInputs(Graph&, const RunSetup&)>;
LossInputs keyed_loss_inputs(Graph& graph, const RunSetup& setup);

// One micro-batch: loss (step.loss, its share of the global mean) and gradients (outputs grad.U), as for one rank.
Graph build_micro_step(const RunSetup& setup, const LossInputsOf& inputs, const PassObserver& observer);
// The loss of such a micro-batch by the same formulas from the same buffers, and no gradient (resume_proof.loss).
Graph build_resume_proof(const RunSetup& setup);
// Clip, AdamW and EMA over all units or this rank's shards of them, which are gathered at stages 1 and 2; writes
// step.norm and step.unit_norms.
Graph build_update(const RunSetup& setup);
// param.U from master.U, after initialisation or a load.
Graph build_refresh(const RunSetup& setup);
// full.U from its shards, after initialisation or a load.
Graph build_gather(const RunSetup& setup);
// Losses per image at given times and noise ids (validation.losses).
Graph build_validation(const RunSetup& setup, int64_t batch);

struct SamplingSetup {
  std::string weights;  // "master", "param" or "ema.NAME"
  int64_t batch = 16;   // images
  bool guided = true;   // false: scale 1, half the work
  int64_t guided_channels = 3;
  uint64_t seed = 0;         // of the start noise and of the steps' noise
  bool noise_given = false;  // the steps' noise is uploaded to sample.noise instead of drawn
};
// One stage of a sampler over buffers sample.{x,trial,denoised,time,labels,guidance,factors,bounds,noise_ids}.
Graph build_sampling(const RunSetup& setup, const SamplingSetup& sampling, SamplerStage stage, bool noise);

// The passes after differentiation, in order; constants move to `prologue`.
Graph lower(const Graph& graph, const RunSetup& setup, Graph& prologue, const PassObserver& observer = nullptr);

// The last pass, "shard": what ranks send each other. A lowered micro-step folds its gradients, on one rank too.
//   kLast: the last round of a step, which at stage 0 and in `reduction: fastest` brings the gradients together.
enum class Round { kEarlier, kLast };
Graph shard_micro_step(const Graph& lowered, const RunSetup& setup, Round round);
// The resume proof: reads the weights as a micro-step does.
Graph shard_resume_proof(const Graph& lowered, const RunSetup& setup);
// Any other lowered graph over weights of this source.
Graph shard_forward(const Graph& lowered, const RunSetup& setup, const std::string& source);

}  // namespace shardit

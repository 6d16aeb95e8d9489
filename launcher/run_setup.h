// From the run config to what the graphs depend on: the one place where config keys meet the model.
#pragma once

#include "launcher/graphs.h"
#include "launcher/ranks.h"
#include "launcher/run_config.pb.h"
#include "model/guidance.h"

namespace shardit {

// Whether products of fp32 operands go by way of TF32.
bool multiplies_in_tf32(const RunConfig& config);

// For one rank of `mesh`. UserError naming the rank counts that would do if its size does not divide the micro-batches.
RunSetup make_setup(const RunConfig& config, const Mesh& mesh = plan_mesh(1, 0, 1));
// The same, with communicators. Collective: all ranks get theirs, or all the same error.
RunSetup make_setup(const RunConfig& config, Ranks& ranks);

// The learning rate and the other numbers of update `step` (0 is the first), in the order `adamw` reads them.
//   lr ramps linearly over optimizer.warmup_images.
//   An EMA with a half-life h (images) decays by 0.5^(batch / min(h, 5 % of the images seen)), as EDM does.
std::vector<double> step_numbers(const RunConfig& config, int64_t step);

// How images are drawn: the config's sample{…}, which flags may override.
struct SamplingPlan {
  SamplerPlan steps;
  GuidanceSchedule schedule = GuidanceSchedule::kConstant;
  double cfg = 1, scale_pow = 4;
  int64_t guided_channels = 3;
  bool guided() const { return cfg != 1; }
  double guidance_at(const SamplerStep& step) const { return guidance_scale(schedule, cfg, scale_pow, step.progress); }
};
SamplingPlan make_sampling_plan(const RunConfig& config);

// The graphs' part of it: batch, weights, guidance, seed.
SamplingSetup make_sampling_setup(const RunConfig& config, const RunSetup& setup, const SamplingPlan& plan);

// Where the weights of sample.ema lie: "ema.NAME", or the training weights for "none"; the first profile by default.
std::string sampling_weights(const RunConfig& config, const RunSetup& setup);

}  // namespace shardit

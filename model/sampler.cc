#include "model/sampler.h"

#include <cmath>

#include "core/error.h"
#include "ops/ops.h"

namespace shardit {
namespace {

SamplerStep step_of(const DdpmSchedule& s, int64_t i, int64_t timesteps, SamplerStage stage) {
  return {.stage = stage,
          .time = static_cast<double>(s.steps[i]),
          .progress = static_cast<double>(s.steps[i]) / static_cast<double>(timesteps)};
}

// One step of DPM-Solver++ 2M in data prediction, from (alpha, sigma) to (alpha_next, sigma_next):
//   x' = (sigma'/sigma) x - alpha' (e^-h - 1) D,  h = lambda' - lambda,  lambda = ln(alpha/sigma)
//   D = (1 + 1/2r) D_now - 1/2r D_last,  r = h_last / h; the first step and one to sigma' = 0 use D = D_now.
struct Multistep {
  double last_h = 0;

  void factors(double alpha, double sigma, double alpha_next, double sigma_next, double f[kSamplerFactors]) {
    if (sigma_next == 0) {  // e^-h = 0
      f[0] = 0, f[1] = alpha_next, f[2] = 0;
      return;
    }
    const double h = std::log(alpha_next / sigma_next) - std::log(alpha / sigma);
    const double gain = -alpha_next * std::expm1(-h), lead = last_h > 0 ? h / (2 * last_h) : 0;
    f[0] = sigma_next / sigma, f[1] = gain * (1 + lead), f[2] = -gain * lead;
    last_h = h;
  }
};

// The state dims to the network's: fp64 -> real.
Value network_input(Value x) { return cast(x, x.graph->real()); }

Value combine_state(const SamplerState& s, int first, int count, const std::vector<Value>& x) {
  return combine(slice_first(s.factors, first, count), x);
}

}  // namespace

SamplerPlan plan_ddpm(const DdpmSchedule& s, int64_t timesteps, bool learn_sigma) {
  SamplerPlan plan;
  for (int64_t i = s.size() - 1; i >= 0; --i) {
    SamplerStep step = step_of(s, i, timesteps, SamplerStage::kMove);
    const double to_x0 = 1 / std::sqrt(s.alpha_bar[i]), to_eps = -std::sqrt(1 / s.alpha_bar[i] - 1);
    step.factors[0] = s.posterior_mean_x0[i] * to_x0 + s.posterior_mean_xt[i];
    step.factors[1] = s.posterior_mean_x0[i] * to_eps;
    step.factors[2] = 1;
    // Without a learned range the variance is beta ("fixed large"), with the posterior's first value at index 0.
    const double upper = std::log(s.beta[i]);
    const double fixed = i > 0 || s.size() == 1 ? upper : s.posterior_log_variance[0];
    step.noise_bounds[0] = learn_sigma ? s.posterior_log_variance[i] : fixed;
    step.noise_bounds[1] = learn_sigma ? upper : fixed;
    step.noise_bounds[2] = i > 0 ? 1 : 0;
    plan.steps.push_back(step);
  }
  return plan;
}

SamplerPlan plan_ddim(const DdpmSchedule& s, int64_t timesteps) {
  SamplerPlan plan;
  for (int64_t i = s.size() - 1; i >= 0; --i) {
    SamplerStep step = step_of(s, i, timesteps, SamplerStage::kMove);
    // x0 = x / sqrt(abar) - sqrt(1/abar - 1) eps;  x' = sqrt(abar') x0 + sqrt(1 - abar') eps
    step.factors[0] = std::sqrt(s.alpha_bar_previous[i] / s.alpha_bar[i]);
    step.factors[1] =
        std::sqrt(1 - s.alpha_bar_previous[i]) - std::sqrt(s.alpha_bar_previous[i]) * std::sqrt(1 / s.alpha_bar[i] - 1);
    plan.steps.push_back(step);
  }
  return plan;
}

SamplerPlan plan_ddpm_dpmpp(const DdpmSchedule& s, int64_t timesteps) {
  SamplerPlan plan;
  Multistep multistep;
  for (int64_t i = s.size() - 1; i >= 0; --i) {
    SamplerStep step = step_of(s, i, timesteps, SamplerStage::kMultistep);
    const double next = i > 0 ? s.alpha_bar[i - 1] : 1;
    multistep.factors(std::sqrt(s.alpha_bar[i]), std::sqrt(1 - s.alpha_bar[i]), std::sqrt(next), std::sqrt(1 - next),
                      step.factors);
    step.factors[3] = 1 / std::sqrt(s.alpha_bar[i]);
    step.factors[4] = -std::sqrt(1 / s.alpha_bar[i] - 1);
    plan.steps.push_back(step);
  }
  return plan;
}

std::vector<double> edm_sigmas(const SigmaRange& range, int64_t steps) {
  REQUIRE(steps >= 1, "sampling steps: got " + std::to_string(steps) + ", expected at least 1");
  std::vector<double> sigmas;
  const double high = std::pow(range.max, 1 / range.rho), low = std::pow(range.min, 1 / range.rho);
  for (int64_t i = 0; i < steps; ++i) {
    const double share = steps > 1 ? static_cast<double>(i) / static_cast<double>(steps - 1) : 0;
    sigmas.push_back(std::pow(high + share * (low - high), range.rho));
  }
  sigmas.push_back(0);
  return sigmas;
}

SamplerPlan plan_heun(const SigmaRange& range, int64_t steps) {
  const std::vector<double> sigmas = edm_sigmas(range, steps);
  SamplerPlan plan{.start_scale = sigmas[0]};
  for (int64_t i = 0; i < steps; ++i) {
    const double now = sigmas[i], next = sigmas[i + 1], ratio = next / now;
    const bool last = next == 0;
    // Euler: x1 = x + (next - now) (x - D) / now
    plan.steps.push_back(
        {.stage = last ? SamplerStage::kMove : SamplerStage::kPredict, .time = now, .factors = {ratio, 1 - ratio}});
    if (last) break;
    // x' = x + (next - now)/2 ((x - D) / now + (x1 - D1) / next)
    const double half = (next - now) / 2;
    plan.steps.push_back({.stage = SamplerStage::kCorrect,
                          .time = next,
                          .factors = {1 + half / now, half / next, -half / now, -half / next}});
  }
  return plan;
}

SamplerPlan plan_edm_dpmpp(const SigmaRange& range, int64_t steps) {
  const std::vector<double> sigmas = edm_sigmas(range, steps);
  SamplerPlan plan{.start_scale = sigmas[0]};
  Multistep multistep;
  for (int64_t i = 0; i < steps; ++i) {
    SamplerStep step{.stage = SamplerStage::kMultistep, .time = sigmas[i]};
    multistep.factors(1, sigmas[i], 1, sigmas[i + 1], step.factors);
    step.factors[4] = 1;  // the prediction is the denoised image itself
    plan.steps.push_back(step);
  }
  return plan;
}

void build_stage(SamplerStage stage, const Process& process, const Network& network, const SamplerState& s) {
  const auto scope = s.x.graph->scope("sampler");
  const Value from = stage == SamplerStage::kCorrect ? s.trial : s.x;
  const Prediction answer = process.predict(network, network_input(from), s.time, s.labels);
  const Value estimate = answer.estimate;
  switch (stage) {
    case SamplerStage::kMove: {
      std::vector<Value> terms = {s.x, estimate};
      if (s.noise) {
        const Value logits = answer.variance_logits ? answer.variance_logits : s.noise;  // fixed variance: equal bounds
        terms.push_back(learned_noise(logits, s.noise, s.noise_bounds));
      }
      assign(s.x, combine_state(s, 0, static_cast<int>(terms.size()), terms));
      break;
    }
    case SamplerStage::kPredict:
      assign(s.trial, combine_state(s, 0, 2, {s.x, estimate}));
      assign(s.denoised, cast(estimate, s.denoised.dtype()));
      break;
    case SamplerStage::kCorrect:
      assign(s.x, combine_state(s, 0, 4, {s.x, s.trial, s.denoised, estimate}));
      break;
    case SamplerStage::kMultistep: {
      const Value denoised = combine_state(s, 3, 2, {s.x, estimate});
      assign(s.x, combine_state(s, 0, 3, {s.x, denoised, s.denoised}));
      assign(s.denoised, denoised);
      break;
    }
  }
}

}  // namespace shardit

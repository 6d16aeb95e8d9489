#include "launcher/run_setup.h"

#include <cmath>

#include "core/error.h"

namespace shardit {
namespace {

DType dtype_of(RunConfig::Precision::Type type) {
  return type == RunConfig::Precision::bf16 ? DType::kBF16 : DType::kF32;
}

DiffitConfig model_of(const RunConfig::Model& m) {
  return {.input_size = m.input_size(),
          .in_channels = m.in_channels(),
          .patch_size = m.patch_size(),
          .hidden_size = m.hidden_size(),
          .depth = m.depth(),
          .num_heads = m.num_heads(),
          .mlp_ratio = m.mlp_ratio(),
          .num_classes = m.num_classes(),
          .learn_sigma = m.learn_sigma()};
}

std::shared_ptr<const Process> process_of(const RunConfig& config) {
  const auto& d = config.diffusion();
  if (d.process() == RunConfig::Diffusion::edm)
    return make_edm({.p_mean = d.p_mean(), .p_std = d.p_std(), .sigma_data = d.sigma_data()});
  return make_ddpm({.timesteps = d.timesteps(),
                    .beta_start = d.beta_start(),
                    .beta_end = d.beta_end(),
                    .channels = config.model().in_channels(),
                    .learn_sigma = config.model().learn_sigma()});
}

Recompute recompute_of(RunConfig::Parallel::Recompute policy) {
  switch (policy) {
    case RunConfig::Parallel::block:
      return Recompute::kBlock;
    case RunConfig::Parallel::selective:
      return Recompute::kSelective;
    default:
      return Recompute::kNone;
  }
}

// `fastest` on one rank is a plain left fold: one group of all micro-batches.
int64_t fold_group_of(const RunConfig& config) {
  const bool fastest = config.parallel().reduction() == RunConfig::Parallel::fastest;
  return fastest ? config.global_batch_size() / config.micro_batch_size() : config.parallel().fold_group();
}

double ema_decay(const RunConfig::Ema& ema, double batch, double images_seen) {
  if (ema.has_decay()) return ema.decay();
  return std::pow(0.5, batch / std::max(std::min(ema.half_life_images(), 0.05 * images_seen), 1e-8));
}

SamplerPlan sampler_of(const RunConfig& config) {
  const auto& d = config.diffusion();
  const auto& s = config.sample();
  const SigmaRange range{.min = d.sigma_min(), .max = d.sigma_max(), .rho = d.rho()};
  if (s.sampler() == RunConfig::Sample::heun) return plan_heun(range, s.steps());
  if (d.process() == RunConfig::Diffusion::edm) return plan_edm_dpmpp(range, s.steps());
  const DdpmSchedule respaced = respace(ddpm_schedule(d.timesteps(), d.beta_start(), d.beta_end()), s.steps());
  switch (s.sampler()) {
    case RunConfig::Sample::ddim:
      return plan_ddim(respaced, d.timesteps());
    case RunConfig::Sample::dpmpp:
      return plan_ddpm_dpmpp(respaced, d.timesteps());
    default:
      return plan_ddpm(respaced, d.timesteps(), config.model().learn_sigma());
  }
}

std::string divisors_of(int64_t n) {
  std::string text;
  for (int64_t d = 1; d <= n; ++d)
    if (n % d == 0) text += (text.empty() ? "" : ", ") + std::to_string(d);
  return text;
}

void check_ranks(const RunConfig& config, const Mesh& mesh) {
  const int64_t micro_batches = config.global_batch_size() / config.micro_batch_size();
  REQUIRE(micro_batches % mesh.ranks() == 0,
          std::to_string(mesh.ranks()) + " ranks do not divide the step's " + std::to_string(micro_batches) +
              " micro-batches (global_batch_size / micro_batch_size)\nstart " + divisors_of(micro_batches) +
              " ranks, or change micro_batch_size, which changes the run");
}

}  // namespace

bool multiplies_in_tf32(const RunConfig& config) { return config.precision().compute() == RunConfig::Precision::tf32; }

RunSetup make_setup(const RunConfig& config, const Mesh& mesh) {
  check_ranks(config, mesh);
  const auto& p = config.precision();
  RunSetup setup{.model = model_of(config.model()),
                 .sharding = {.mesh = mesh,
                              .stage = static_cast<int>(config.parallel().zero_stage()),
                              .prefetch_bytes = config.parallel().prefetch_bytes()},
                 .process = process_of(config),
                 .precision = {.compute = dtype_of(p.compute()),
                               .residual = dtype_of(p.residual()),
                               .reduce = dtype_of(p.reduce()),
                               .tf32 = multiplies_in_tf32(config)},
                 .recompute = recompute_of(config.parallel().recompute()),
                 .seed = config.seed(),
                 .global_batch = config.global_batch_size(),
                 .micro_batch = config.micro_batch_size(),
                 .fold_group = fold_group_of(config),
                 .fastest = config.parallel().reduction() == RunConfig::Parallel::fastest,
                 .label_dropout = config.model().label_dropout(),
                 .grad_clip = config.optimizer().grad_clip()};
  check(setup.model);
  setup.layout = diffit_layout(setup.model).padded(mesh.shard.size);
  setup.adamw.beta1 = config.optimizer().beta1();
  setup.adamw.beta2 = config.optimizer().beta2();
  setup.adamw.eps = config.optimizer().eps();
  setup.adamw.weight_decay = config.optimizer().weight_decay();
  for (const auto& ema : config.ema()) setup.ema_names.push_back(ema.name());
  return setup;
}

RunSetup make_setup(const RunConfig& config, Ranks& ranks) {
  const auto replicas = static_cast<int>(config.parallel().replicate_group());
  ranks.together("ranks", [&] { plan_mesh(ranks.size(), ranks.rank(), replicas); });
  const Mesh mesh = make_mesh(ranks.world(), replicas);
  RunSetup setup;
  ranks.together("ranks", [&] { setup = make_setup(config, mesh); });
  return setup;
}

std::vector<double> step_numbers(const RunConfig& config, int64_t step) {
  const auto& o = config.optimizer();
  const double batch = static_cast<double>(config.global_batch_size()), images = batch * static_cast<double>(step + 1);
  const double ramp = o.warmup_images() > 0 ? std::min(1.0, images / static_cast<double>(o.warmup_images())) : 1;
  std::vector<double> numbers = {o.lr() * ramp, 1 - std::pow(o.beta1(), static_cast<double>(step + 1)),
                                 1 - std::pow(o.beta2(), static_cast<double>(step + 1))};
  for (const auto& ema : config.ema()) numbers.push_back(ema_decay(ema, batch, images));
  return numbers;
}

SamplingPlan make_sampling_plan(const RunConfig& config) {
  const auto& s = config.sample();
  REQUIRE(
      s.cfg_schedule() != "power-cosine" || config.diffusion().process() == RunConfig::Diffusion::ddpm,
      "sample.cfg_schedule is power-cosine, which follows the DDPM step; expected constant for diffusion.process edm");
  return {
      .steps = sampler_of(config),
      .schedule = s.cfg_schedule() == "power-cosine" ? GuidanceSchedule::kPowerCosine : GuidanceSchedule::kConstant,
      .cfg = s.cfg(),
      .scale_pow = s.scale_pow(),
      .guided_channels = s.cfg_channels() > 0 ? s.cfg_channels() : std::min<int64_t>(3, config.model().in_channels())};
}

SamplingSetup make_sampling_setup(const RunConfig& config, const RunSetup& setup, const SamplingPlan& plan) {
  return {.weights = sampling_weights(config, setup),
          .batch = config.sample().batch(),
          .guided = plan.guided(),
          .guided_channels = plan.guided_channels,
          .seed = config.sample().seed()};
}

std::string sampling_weights(const RunConfig& config, const RunSetup& setup) {
  const std::string& ema = config.sample().ema();
  if (ema == "none" || (ema.empty() && setup.ema_names.empty())) return setup.weights();
  return "ema." + (ema.empty() ? setup.ema_names.front() : ema);
}

}  // namespace shardit

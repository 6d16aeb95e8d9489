#include <cmath>

#include "launcher/parity_error.h"
#include "launcher/parity_sections.h"

namespace shardit {

double sampling_error(GoldenRun& run, bool ancestral) {
  const Golden& golden = run.golden();
  const DiffitConfig& model = run.setup().model;
  const DdpmSchedule full = ddpm_schedule(kGoldenTimesteps, 1e-4, 0.02),
                     respaced = respace(full, golden.shape("sample.timesteps")[0]);
  if (golden.integers("sample.timesteps") != respaced.steps) return INFINITY;
  const SamplerPlan plan =
      ancestral ? plan_ddpm(respaced, kGoldenTimesteps, model.learn_sigma) : plan_ddim(respaced, kGoldenTimesteps);
  const int64_t n = golden.shape("sample.z")[0], steps = static_cast<int64_t>(plan.steps.size());
  const SamplingSetup sampling{
      .weights = run.setup().weights(), .batch = n, .guided_channels = run.guided_channels(), .noise_given = true};
  Program& program = run.start({{"move", build_sampling(run.setup(), sampling, SamplerStage::kMove, ancestral)}});
  const std::vector<float> z = golden.images("sample.z"), noise = golden.images("sample.noise");
  set(program, "sample.x", std::vector<double>(z.begin(), z.end()));
  set(program, "sample.labels", golden.integers("sample.y"));
  set(program, "sample.null_labels", std::vector<int64_t>(n, model.num_classes));
  for (int64_t s = 0; s < steps; ++s) {
    const SamplerStep& step = plan.steps[s];
    set(program, "sample.time", std::vector<int64_t>(n, static_cast<int64_t>(step.time)));
    set(program, "sample.guidance", std::vector<float>(n, static_cast<float>(run.guidance_at(step.time))));
    set(program, "sample.factors", std::vector<double>(step.factors, step.factors + kSamplerFactors));
    if (ancestral) {
      set(program, "sample.noise", part(noise, s, steps));
      set(program, "sample.bounds", std::vector<double>(step.noise_bounds, step.noise_bounds + 3));
    }
    program.run("move");
  }
  const auto x = get<double>(program, "sample.x", static_cast<int64_t>(z.size()));
  return relative_error(std::vector<float>(x.begin(), x.end()),
                        golden.images(ancestral ? "sample.ddpm" : "sample.ddim"));
}

}  // namespace shardit

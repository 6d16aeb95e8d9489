#include "model/ddpm_schedule.h"

#include <cmath>
#include <string>

#include "core/error.h"

namespace shardit {
namespace {

DdpmSchedule from_betas(std::vector<int64_t> steps, std::vector<double> beta) {
  DdpmSchedule s{.steps = std::move(steps), .beta = std::move(beta)};
  double product = 1;
  for (double b : s.beta) {
    const double previous = product;
    product *= 1 - b;
    s.alpha_bar_previous.push_back(previous);
    s.alpha_bar.push_back(product);
    s.posterior_variance.push_back(b * (1 - previous) / (1 - product));
    s.posterior_mean_x0.push_back(b * std::sqrt(previous) / (1 - product));
    s.posterior_mean_xt.push_back((1 - previous) * std::sqrt(1 - b) / (1 - product));
  }
  for (int64_t i = 0; i < s.size(); ++i)
    s.posterior_log_variance.push_back(std::log(s.posterior_variance[i > 0 || s.size() == 1 ? i : 1]));
  return s;
}

}  // namespace

DdpmSchedule ddpm_schedule(int64_t timesteps, double beta_start, double beta_end) {
  REQUIRE(timesteps >= 2, "diffusion.timesteps is " + std::to_string(timesteps) + ": expected at least 2");
  REQUIRE(0 < beta_start && beta_start <= beta_end && beta_end < 1,
          "diffusion: expected 0 < beta_start <= beta_end < 1");
  std::vector<int64_t> steps;
  std::vector<double> beta;
  for (int64_t i = 0; i < timesteps; ++i) {
    steps.push_back(i);
    beta.push_back(beta_start + (beta_end - beta_start) * static_cast<double>(i) / static_cast<double>(timesteps - 1));
  }
  return from_betas(std::move(steps), std::move(beta));
}

DdpmSchedule respace(const DdpmSchedule& schedule, int64_t count) {
  REQUIRE(count >= 1 && count <= schedule.size(),
          "sampling steps: got " + std::to_string(count) + ", expected 1 to " + std::to_string(schedule.size()));
  const double stride = count > 1 ? static_cast<double>(schedule.size() - 1) / static_cast<double>(count - 1) : 1;
  std::vector<int64_t> steps;
  std::vector<double> beta;
  double position = 0, last = 1;
  for (int64_t k = 0; k < count; ++k, position += stride) {
    const auto step = static_cast<int64_t>(std::nearbyint(position));  // the current rounding mode: half to even
    steps.push_back(schedule.steps[step]);
    beta.push_back(1 - schedule.alpha_bar[step] / last);
    last = schedule.alpha_bar[step];
  }
  return from_betas(std::move(steps), std::move(beta));
}

}  // namespace shardit

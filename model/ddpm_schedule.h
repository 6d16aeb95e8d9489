// The numbers of a DDPM with linear betas, in fp64: full training schedule and its respaced subsets for sampling.
#pragma once

#include <cstdint>
#include <vector>

namespace shardit {

struct DdpmSchedule {
  std::vector<int64_t> steps;  // the training step that each index stands for: what the network is told
  std::vector<double> beta;
  std::vector<double> alpha_bar, alpha_bar_previous;         // products of 1 - beta, up to and before the index
  std::vector<double> posterior_variance;                    // of q(x_{t-1} | x_t, x_0): beta~
  std::vector<double> posterior_log_variance;                // its log, index 0 taking index 1's (clipped)
  std::vector<double> posterior_mean_x0, posterior_mean_xt;  // mean = m0 x_0 + mt x_t

  int64_t size() const { return static_cast<int64_t>(beta.size()); }
};

// beta linear from beta_start to beta_end over `timesteps`.
DdpmSchedule ddpm_schedule(int64_t timesteps, double beta_start, double beta_end);

// `count` of the schedule's steps, spread evenly from first to last (round half to even on a running sum, as the
// released sampler does), with betas that keep alpha_bar: Nichol & Dhariwal 2021, section 4. Throws UserError if count
// is not in [2, timesteps] (or 1).
DdpmSchedule respace(const DdpmSchedule& schedule, int64_t count);

}  // namespace shardit

// Samplers: how a trained process turns noise into images, as a list of numbers and a few small graphs.
//
// A step evaluates the network once and moves the state on. Everything that changes from step to step is a number in a
// small buffer, so the graphs (one per stage) are built once and replayed. The state is fp64; the network sees fp32.
#pragma once

#include <string>
#include <vector>

#include "model/ddpm_schedule.h"
#include "model/process.h"

namespace shardit {

enum class SamplerKind {
  kDdpm,   // ancestral sampling with the learned variance (DDPM process)
  kDdim,   // Song et al. 2021, eta 0 (DDPM process)
  kHeun,   // Karras et al. 2022, algorithm 1 without churn (EDM process)
  kDpmpp,  // DPM-Solver++ 2M (Lu et al. 2022), both processes
};

// What a stage does with the network's answer.
enum class SamplerStage {
  kMove,      // x <- f0 x + f1 prediction + f2 noise
  kPredict,   // trial <- f0 x + f1 prediction, kept beside the prediction (Heun's first half)
  kCorrect,   // x <- f0 x + f1 trial + f2 prediction(x) + f3 prediction(trial)
  kMultistep  // denoised <- f3 x + f4 prediction;  x <- f0 x + f1 denoised + f2 last denoised
};

inline constexpr int kSamplerFactors = 5;

struct SamplerStep {
  SamplerStage stage = SamplerStage::kMove;
  double time = 0;      // what the network is told: DDPM step, EDM sigma
  double progress = 0;  // t / T, for guidance schedules
  double factors[kSamplerFactors] = {};
  double noise_bounds[3] = {};  // log variance: lower and upper end of the learned range; 1 if noise is added
};

struct SamplerPlan {
  double start_scale = 1;  // the state starts as start_scale times standard normals
  std::vector<SamplerStep> steps;
};

SamplerPlan plan_ddpm(const DdpmSchedule& respaced, int64_t timesteps, bool learn_sigma);
SamplerPlan plan_ddim(const DdpmSchedule& respaced, int64_t timesteps);
SamplerPlan plan_ddpm_dpmpp(const DdpmSchedule& respaced, int64_t timesteps);

struct SigmaRange {
  double min = 0.002, max = 80, rho = 7;
};
SamplerPlan plan_heun(const SigmaRange& range, int64_t steps);
SamplerPlan plan_edm_dpmpp(const SigmaRange& range, int64_t steps);

// The noise levels of EDM's discretisation: steps values from max to min, then 0.
std::vector<double> edm_sigmas(const SigmaRange& range, int64_t steps);

// The buffers a stage graph reads and writes; the caller makes them as inputs. State tensors are fp64 (B, S, S, c).
struct SamplerState {
  Value x, trial, denoised;   // x: the image so far; trial, denoised: of stages that need them
  Value time;                 // (B), the process's time type
  Value labels;               // (B) int64
  Value factors;              // (kSamplerFactors) fp64
  Value noise, noise_bounds;  // standard normals like x in real; (3) fp64; kMove only
};

// Adds a stage to a graph; `network` is guided or not as the caller wishes.
void build_stage(SamplerStage stage, const Process& process, const Network& network, const SamplerState& state);

}  // namespace shardit

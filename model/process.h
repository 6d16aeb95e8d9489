// A diffusion process: how images are noised, what the network predicts, and the loss it is trained on.
//
// The network is a function of (x, t, y); the process decides what t means. DDPM and EDM stand behind this one
// interface; samplers (model/sampler.h) use the same processes.
#pragma once

#include <functional>
#include <memory>

#include "core/graph.h"
#include "core/random.h"

namespace shardit {

using Network = std::function<Value(Value x, Value t, Value y)>;

// Losses per image (B): means over the image's elements, so that printed losses, gradient norms and clipping mean the
// same for every process and image size. Training minimises their mean over the global batch. (EDM's paper sums over
// the image: a constant factor, which Adam does not see.)
struct Loss {
  Value per_image;
  Value mse, variational;  // DDPM's two terms; empty where the process has no such term
};

// A network's answer in the process's terms, at a given state.
struct Prediction {
  Value estimate;         // DDPM: the noise eps; EDM: the denoised image D(x; sigma)
  Value variance_logits;  // DDPM with learned variance; else empty
};

class Process {
 public:
  virtual ~Process() = default;

  // A training time per image, keyed by global sample number: DDPM steps (B) int64, EDM noise levels sigma (B) real.
  virtual Value draw_time(Value ids, uint64_t seed) const = 0;
  // The time below which a share `q` in (0, 1) of training times lies: for evenly spread validation times.
  virtual double time_at(double q) const = 0;
  virtual DType time_dtype() const = 0;  // kI64, or kF32 standing for the graph's real type

  virtual Loss loss(const Network& network, Value x0, Value time, Value noise, Value y) const = 0;
  virtual Prediction predict(const Network& network, Value x, Value time, Value y) const = 0;
};

// Denoising diffusion with predicted noise and a learned variance range (Ho et al. 2020; Nichol & Dhariwal 2021), as
// the released model was trained.
struct DdpmConfig {
  int64_t timesteps = 1000;
  double beta_start = 1e-4, beta_end = 0.02;  // linear in the step
  int64_t channels = 4;
  bool learn_sigma = true;
};
std::unique_ptr<Process> make_ddpm(const DdpmConfig& config);

// "Elucidating the Design Space of Diffusion-Based Generative Models" (Karras et al. 2022), table 1, column "Ours".
struct EdmConfig {
  double p_mean = -1.2, p_std = 1.2;  // ln(sigma) of training noise
  double sigma_data = 0.5;            // root mean square of the data about zero
};
std::unique_ptr<Process> make_edm(const EdmConfig& config);

}  // namespace shardit

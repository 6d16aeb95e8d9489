// The sections of a golden: each runs the program that training uses on the golden's inputs and returns its error.
#pragma once

#include "launcher/golden_run.h"

namespace shardit {

double forward_error(GoldenRun& run);
double guided_error(GoldenRun& run);

struct TrainingErrors {
  double loss = 0;      // of every step's mean, and of the first step's terms per image
  double gradient = 0;  // of the first step
  double after = 0;     // root mean square over that of the reference's change
  double ema = 0;       // the same
};
// Runs all training steps once; errors of tensors that the golden does not have are 0.
TrainingErrors training_errors(GoldenRun& run);

double sampling_error(GoldenRun& run, bool ancestral);  // DDPM, or DDIM with eta 0

}  // namespace shardit

// The held-out loss: the curve to trust, since a training loss is mostly noise of the drawn times.
//
// The images, their noise and their times are the same at every validation: image i gets the noise keyed by i and the
// time at quantile (i mod bins + u_i) / bins of the training distribution, so each bin of t holds the same images.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "core/program.h"
#include "data/sample_reader.h"
#include "launcher/ranks.h"
#include "launcher/run_setup.h"

namespace shardit {

struct ValidationResult {
  double loss = 0;           // mean over all images
  std::vector<double> bins;  // mean per range of t, the lowest first
  int64_t images = 0;
  std::vector<CorruptSample> corrupt;  // of this rank's images
};

class Validation {
 public:
  // `batch`: of the compiled validation graph; images are rounded down to whole batches, at least one.
  Validation(const Dataset& dataset, const RunSetup& setup, int64_t images, int64_t bins, int64_t batch,
             OnCorrupt on_corrupt = OnCorrupt::kFail);
  // Ranks share the batches and get the same result, whose bits do not depend on their number.
  ValidationResult run(Program& program, Ranks& ranks) const;

 private:
  void upload_batch(Program& program, int64_t first, std::vector<CorruptSample>& corrupt) const;
  double time_of(int64_t image) const;

  const Dataset& dataset_;
  const RunSetup& setup_;
  const SampleReader reader_;
  int64_t bins_, batch_, images_;
};

}  // namespace shardit

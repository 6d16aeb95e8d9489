// Drawing images from a program's weights: the sampler's steps, batch by batch.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "core/program.h"
#include "launcher/ranks.h"
#include "launcher/run_setup.h"

namespace shardit {

struct SampledImages {
  int64_t count = 0, height = 0, width = 0, channels = 0;
  std::vector<float> real;      // [count, height, width, channels], about -1 to 1
  std::vector<uint8_t> pixels;  // the same as bytes
};

// Called on every rank after a sampler step with the share of the work that is done; where it returns false on any, the
// sampling stops on all.
using SamplingProgress = std::function<bool(int64_t done, int64_t total)>;

// Image i of `labels` starts from the noise keyed by (sampling.seed, first_image + i). Work is dealt in batches of the
// compiled size, the last one padded, so the bytes depend neither on how many images are asked for at once nor on the
// number of ranks. Every rank returns all images, or none if `progress` stopped it.
SampledImages draw_images(Program& program, const RunSetup& setup, const SamplingSetup& sampling,
                          const SamplingPlan& plan, const std::vector<int64_t>& labels, int64_t first_image,
                          Ranks& ranks, const SamplingProgress& progress);

// As bytes: DDPM truncates (x + 1) * 127.5, EDM x * 127.5 + 128, each after clamping.
void to_pixels(const std::vector<float>& real, bool edm, std::vector<uint8_t>& pixels);

}  // namespace shardit

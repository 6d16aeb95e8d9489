// Drawing images from a program's weights: the sampler's steps, batch by batch.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "core/program.h"
#include "launcher/ranks.h"
#include "launcher/run_setup.h"

namespace shardit {

// Some of the images that were asked for, in their order.
struct SampledImages {
  int64_t first = 0, count = 0, height = 0, width = 0, channels = 0;
  std::vector<float> real;      // [count, height, width, channels], about -1 to 1
  std::vector<uint8_t> pixels;  // the same as bytes
};

// Called on every rank after a sampler step with the share of the work that is done; where it returns false on any, the
// sampling stops on all.
using SamplingProgress = std::function<bool(int64_t done, int64_t total)>;
// Called on every rank with those images that are drawn, until all were.
using TakeImages = std::function<void(const SampledImages&)>;

// Image i of `labels` starts from the noise keyed by (sampling.seed, first_image + i). Work is dealt in batches of the
// compiled size, the last one padded, so the bytes depend neither on how many images are asked for at once nor on the
// number of ranks. No more than a batch of each rank is in memory, and given to `take`. Returns whether all were drawn:
// not if `progress` stopped it.
bool draw_images(Program& program, const RunSetup& setup, const SamplingSetup& sampling, const SamplingPlan& plan,
                 const std::vector<int64_t>& labels, int64_t first_image, Ranks& ranks,
                 const SamplingProgress& progress, const TakeImages& take);
// All at once, on every rank; none if `progress` stopped it.
SampledImages draw_all_images(Program& program, const RunSetup& setup, const SamplingSetup& sampling,
                              const SamplingPlan& plan, const std::vector<int64_t>& labels, int64_t first_image,
                              Ranks& ranks, const SamplingProgress& progress);

// As bytes: DDPM truncates (x + 1) * 127.5, EDM x * 127.5 + 128, each after clamping.
void to_pixels(const std::vector<float>& real, bool edm, std::vector<uint8_t>& pixels);

}  // namespace shardit

#include "launcher/sampling.h"

#include <algorithm>

#include "core/random.h"
#include "launcher/run_program.h"

namespace shardit {
namespace {

// Noise of image i at sampler step s is item i * kStepsPerImage + s of the sampling generator; the start is s = 0.
constexpr int64_t kStepsPerImage = 1 << 20;

template <typename T> void upload(Program& program, const std::string& name, const std::vector<T>& values) {
  if (!program.has_buffer(name)) return;  // this sampler does not use it
  program.upload(name, values.data(), static_cast<int64_t>(values.size() * sizeof(T)));
}

class BatchSampler {
 public:
  BatchSampler(Program& program, const RunSetup& setup, const SamplingSetup& sampling, const SamplingPlan& plan)
      : program_(program),
        setup_(setup),
        plan_(plan),
        seed_(sampling.seed),
        batch_(sampling.batch),
        image_(setup.model.input_size * setup.model.input_size * setup.model.in_channels) {}

  int64_t image_elements() const { return image_; }

  void start(const std::vector<int64_t>& labels, int64_t first_image) {
    first_image_ = first_image;
    std::vector<double> x(static_cast<size_t>(batch_ * image_));
    const Philox philox(seed_, Purpose::kSampling);
    for (int64_t b = 0; b < batch_; ++b)
      for (int64_t e = 0; e < image_; ++e)
        x[b * image_ + e] =
            plan_.steps.start_scale * static_cast<double>(normal_at(philox, item(b, 0), static_cast<uint64_t>(e)));
    upload(program_, "sample.x", x);
    upload(program_, "sample.denoised", std::vector<double>(x.size(), 0.0));
    upload(program_, "sample.labels", labels);
    upload(program_, "sample.null_labels", std::vector<int64_t>(batch_, setup_.model.num_classes));
  }

  void step(size_t s) {
    const SamplerStep& step = plan_.steps.steps[s];
    if (setup_.process->time_dtype() == DType::kI64)
      upload(program_, "sample.time", std::vector<int64_t>(batch_, static_cast<int64_t>(step.time)));
    else
      upload(program_, "sample.time", std::vector<float>(batch_, static_cast<float>(step.time)));
    upload(program_, "sample.guidance", std::vector<float>(batch_, static_cast<float>(plan_.guidance_at(step))));
    upload(program_, "sample.factors", std::vector<double>(step.factors, step.factors + kSamplerFactors));
    upload(program_, "sample.bounds", std::vector<double>(step.noise_bounds, step.noise_bounds + 3));
    std::vector<int64_t> ids;
    for (int64_t b = 0; b < batch_; ++b) ids.push_back(static_cast<int64_t>(item(b, static_cast<int64_t>(s) + 1)));
    upload(program_, "sample.noise_ids", ids);
    program_.run(stage_graph(step.stage));
  }

  void finish(float* out, int64_t count) {
    std::vector<double> x(static_cast<size_t>(batch_ * image_));
    program_.download("sample.x", x.data(), static_cast<int64_t>(x.size() * sizeof(double)));
    std::copy(x.begin(), x.begin() + count * image_, out);
  }

 private:
  uint64_t item(int64_t b, int64_t step) const {
    return static_cast<uint64_t>((first_image_ + b) * kStepsPerImage + step);
  }

  Program& program_;
  const RunSetup& setup_;
  const SamplingPlan& plan_;
  uint64_t seed_;
  int64_t batch_, image_, first_image_ = 0;
};

}  // namespace

bool draw_images(Program& program, const RunSetup& setup, const SamplingSetup& sampling, const SamplingPlan& plan,
                 const std::vector<int64_t>& labels, int64_t first_image, Ranks& ranks,
                 const SamplingProgress& progress, const TakeImages& take) {
  const int64_t batch = sampling.batch;
  BatchSampler sampler(program, setup, sampling, plan);
  const int64_t side = setup.model.input_size, count = static_cast<int64_t>(labels.size());
  const int64_t elements = batch * sampler.image_elements(), steps = static_cast<int64_t>(plan.steps.steps.size());
  const SharedWork work((count + batch - 1) / batch, ranks);
  SampledImages images{.height = side, .width = side, .channels = setup.model.in_channels};
  std::vector<float> mine(static_cast<size_t>(elements)), all(static_cast<size_t>(elements * ranks.size()));
  for (int64_t round = 0; round < work.rounds(); ++round) {
    const int64_t first = work.mine(round) * batch;
    std::vector<int64_t> own(labels.begin() + first, labels.begin() + std::min(count, first + batch));
    own.resize(batch, own.back());
    sampler.start(own, first_image + first);
    for (int64_t s = 0; s < steps; ++s) {
      sampler.step(s);
      const bool stop = progress && !progress(round * steps + s + 1, work.rounds() * steps);
      if (ranks.any("stop", stop)) return false;
    }
    sampler.finish(mine.data(), batch);
    ranks.control().all_gather("samples", mine.data(), all.data(), elements * static_cast<int64_t>(sizeof(float)));
    images.first = work.first_of(round) * batch;
    images.count = std::min(work.count_of(round) * batch, count - images.first);  // without the last batch's padding
    images.real.assign(all.begin(), all.begin() + images.count * sampler.image_elements());
    to_pixels(images.real, setup.process->time_dtype() != DType::kI64, images.pixels);
    take(images);
  }
  return true;
}

SampledImages draw_all_images(Program& program, const RunSetup& setup, const SamplingSetup& sampling,
                              const SamplingPlan& plan, const std::vector<int64_t>& labels, int64_t first_image,
                              Ranks& ranks, const SamplingProgress& progress) {
  SampledImages all;
  const auto join = [&](const SampledImages& some) {
    all.count += some.count, all.height = some.height, all.width = some.width, all.channels = some.channels;
    all.real.insert(all.real.end(), some.real.begin(), some.real.end());
    all.pixels.insert(all.pixels.end(), some.pixels.begin(), some.pixels.end());
  };
  if (!draw_images(program, setup, sampling, plan, labels, first_image, ranks, progress, join)) return {};
  return all;
}

void to_pixels(const std::vector<float>& real, bool edm, std::vector<uint8_t>& pixels) {
  pixels.resize(real.size());
  for (size_t i = 0; i < real.size(); ++i) {
    const float grey = edm ? real[i] * 127.5f + 128.0f : (real[i] + 1.0f) * 127.5f;
    pixels[i] = static_cast<uint8_t>(std::clamp(grey, 0.0f, 255.0f));
  }
}

}  // namespace shardit

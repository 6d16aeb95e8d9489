#include "launcher/validation.h"

#include <algorithm>

#include "core/error.h"
#include "core/random.h"

namespace shardit {

Validation::Validation(const Dataset& dataset, const RunSetup& setup, int64_t images, int64_t bins, int64_t batch,
                       OnCorrupt on_corrupt)
    : dataset_(dataset),
      setup_(setup),
      reader_(dataset, setup.seed, false, on_corrupt),
      bins_(bins),
      batch_(batch) {
  REQUIRE(dataset.size() >= batch, "validation: " + dataset.name() + " has " + std::to_string(dataset.size()) +
                                       " images, expected at least one micro-batch of " + std::to_string(batch));
  images_ = std::max<int64_t>(1, std::min(images, dataset.size()) / batch) * batch;
}

double Validation::time_of(int64_t image) const {
  const Philox philox(setup_.seed, Purpose::kValidation);
  const double u = static_cast<double>(uniform_at(philox, static_cast<uint64_t>(image), 0, 1));
  return setup_.process->time_at((static_cast<double>(image % bins_) + u) / static_cast<double>(bins_));
}

void Validation::upload_batch(Program& program, int64_t first, std::vector<CorruptSample>& corrupt) const {
  auto* pixels = static_cast<uint8_t*>(program.host_pointer("validation.pixels"));
  auto* labels = static_cast<int64_t*>(program.host_pointer("validation.labels"));
  auto* ids = static_cast<int64_t*>(program.host_pointer("validation.ids"));
  void* times = program.host_pointer("validation.time");
  for (int64_t b = 0; b < batch_; ++b) {
    reader_.read_in_order(first + b, pixels + b * dataset_.image_bytes(), labels + b, corrupt);
    ids[b] = first + b;
    if (setup_.process->time_dtype() == DType::kI64)
      static_cast<int64_t*>(times)[b] = static_cast<int64_t>(time_of(first + b));
    else
      static_cast<float*>(times)[b] = static_cast<float>(time_of(first + b));
  }
  for (const char* input : {"pixels", "labels", "ids", "time"}) program.push(std::string("validation.") + input);
}

ValidationResult Validation::run(Program& program, Ranks& ranks) const {
  ValidationResult result{.bins = std::vector<double>(bins_, 0.0), .images = images_};
  std::vector<int64_t> counts(bins_, 0);
  const SharedWork work(images_ / batch_, ranks);
  std::vector<float> losses(batch_), everyones(batch_ * ranks.size());
  for (int64_t round = 0; round < work.rounds(); ++round) {
    std::vector<CorruptSample> of_another;
    upload_batch(program, work.mine(round) * batch_, work.repeats(round) ? of_another : result.corrupt);
    program.run("validation");
    program.download("validation.losses", losses.data(), batch_ * static_cast<int64_t>(sizeof(float)));
    ranks.control().all_gather("validation", losses.data(), everyones.data(),
                               batch_ * static_cast<int64_t>(sizeof(float)));
    const int64_t first = work.first_of(round) * batch_;
    for (int64_t i = 0; i < work.count_of(round) * batch_; ++i) {
      result.loss += static_cast<double>(everyones[i]) / static_cast<double>(images_);
      result.bins[(first + i) % bins_] += static_cast<double>(everyones[i]);
      ++counts[(first + i) % bins_];
    }
  }
  for (int64_t i = 0; i < bins_; ++i) result.bins[i] /= static_cast<double>(std::max<int64_t>(1, counts[i]));
  return result;
}

}  // namespace shardit

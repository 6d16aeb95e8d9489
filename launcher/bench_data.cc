#include "launcher/bench_data.h"

#include <algorithm>
#include <memory>

#include "data/decode.h"
#include "data/image_dataset.h"
#include "data/loader.h"
#include "data/resize.h"
#include "launcher/progress.h"
#include "launcher/run_data.h"

namespace shardit {
namespace {

class Batches {
 public:
  Batches(const Dataset& data, const RunConfig& config, int threads)
      : size_(config.micro_batch_size()),
        pixels_(size_ * data.image_bytes()),
        labels_(size_),
        loader_(data, {.seed = config.seed(),
                       .micro_batch_size = size_,
                       .threads = threads,
                       .depth = static_cast<int>(config.data().prefetch()),
                       .flip = config.data().flip(),
                       .on_corrupt = on_corrupt(config)}) {}

  // Takes micro-batches for so long; returns how many images came per second.
  double take(double seconds) {
    const double begin = steady_seconds();
    int64_t images = 0;
    double now = begin;
    for (; now < begin + seconds; now = steady_seconds()) {
      loader_.next({pixels_.data(), labels_.data()});
      images += size_;
    }
    return static_cast<double>(images) / (now - begin);
  }

 private:
  int64_t size_;
  std::vector<uint8_t> pixels_;
  std::vector<int64_t> labels_;
  Loader loader_;
};

double rate_of(const Dataset& data, const RunConfig& config, int threads, double seconds) {
  Batches batches(data, config, threads);
  batches.take(seconds / 4);  // the ring that was filled meanwhile is not counted
  return batches.take(seconds);
}

// Adds the time since the last call.
class Stopwatch {
 public:
  void lap(double& us) {
    const double now = steady_seconds();
    us += (now - last_) * 1e6;
    last_ = now;
  }

 private:
  double last_ = steady_seconds();
};

ImageParts parts_of(const ImageDataset& data, const RunConfig& config, double seconds) {
  const SampleOrder order(config.seed(), data.size());
  ImageParts sum;
  const double end = steady_seconds() + seconds;
  for (int64_t sample = 0; steady_seconds() < end && sample < data.size(); ++sample) {
    Stopwatch watch;
    try {
      const std::vector<uint8_t> bytes = data.files().read(order.index(sample));
      watch.lap(sum.read_us);
      const Image whole = decode_image(bytes);
      watch.lap(sum.decode_us);
      Image crop = centre_crop(whole, data.height());
      watch.lap(sum.crop_us);
      mirror(crop.pixels.data(), crop.height, crop.width, crop.channels);
      watch.lap(sum.mirror_us);
      ++sum.images;
    } catch (const CorruptImage&) {  // the loader has skipped it too, or ended the command
    }
  }
  for (double* us : {&sum.read_us, &sum.decode_us, &sum.crop_us, &sum.mirror_us})
    *us /= static_cast<double>(std::max<int64_t>(1, sum.images));
  return sum;
}

}  // namespace

DataReport measure_data(const RunConfig& config, const DataBenchOptions& options) {
  const std::unique_ptr<Dataset> data = open_training_data(config);
  DataReport report{.data = data->name(),
                    .images = data->size(),
                    .side = data->height(),
                    .micro_batch_images = config.micro_batch_size()};
  rate_of(*data, config, *std::max_element(options.threads.begin(), options.threads.end()), options.seconds);
  for (int threads : options.threads)
    report.rates.push_back({threads, rate_of(*data, config, threads, options.seconds)});
  if (const auto* images = dynamic_cast<const ImageDataset*>(data.get()))
    report.parts = parts_of(*images, config, options.seconds);
  return report;
}

Json to_json(const DataReport& r) {
  Json rates = Json::array();
  for (const DataRate& rate : r.rates)
    rates.push_back({{"threads", rate.threads}, {"images_per_s", rate.images_per_s}});
  Json json = {{"data", r.data},
               {"images", r.images},
               {"side_pixels", r.side},
               {"micro_batch_images", r.micro_batch_images},
               {"rates", rates}};
  if (r.parts)
    json["per_image"] = {{"images", r.parts->images},
                         {"read_us", r.parts->read_us},
                         {"decode_us", r.parts->decode_us},
                         {"crop_us", r.parts->crop_us},
                         {"mirror_us", r.parts->mirror_us}};
  return json;
}

}  // namespace shardit
